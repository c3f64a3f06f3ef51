"""Errors as Paddle words them, through what explains them; prints one line of JSON."""

from __future__ import annotations

import json
from typing import Any

# As Paddle's allocator words it.
ERROR = (
    "ResourceExhaustedError: \n\nOut of memory error on GPU 0. Cannot allocate 2.0GB memory on GPU 0, 3.0GB memory has "
    "been allocated and available memory is only 1.0GB."
)


class Context:
    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        self.metrics[name] = value


def told(batch: int, error: Exception) -> str:
    from stages.paddle.runtime.memory import out_of_memory_explained

    try:
        with out_of_memory_explained("finetune.batch", batch):
            raise error
    except Exception as explained:
        return str(explained)


def main() -> None:
    from stages.paddle.runtime import place
    from stages.paddle.runtime.memory import report_memory

    import paddle  # isort: skip

    found: dict[str, Any] = {}
    on_cpu: Any = Context()
    place.use_gpu(False)
    report_memory(on_cpu)
    found["cpu"] = on_cpu.metrics
    paddle.set_device = lambda name: None
    paddle.device.cuda.max_memory_allocated = lambda index: 3 << 30
    place.use_gpu(True)
    on_gpu: Any = Context()
    report_memory(on_gpu)
    found["metrics"] = on_gpu.metrics
    found["many"], found["one"] = told(16, RuntimeError(ERROR)), told(1, MemoryError(ERROR))
    found["other"] = told(16, RuntimeError("something else"))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
