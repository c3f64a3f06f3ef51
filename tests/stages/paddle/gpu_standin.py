"""A stage's worker on a Paddle that says it has GPUs: it computes on the CPU and writes down for which place each
program is made. It shows that nothing is forgotten on the CPU, not that a GPU computes the same.

python -m tests.stages.paddle.gpu_standin REQUEST; STANDIN_GPUS is their number, with STANDIN_ONEDNN=0 Paddle says that
it was built without oneDNN, and STANDIN_MEMORY is how many bytes of memory are said to be available. The record is
``places.json`` in the request's work folder.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from stages.processes import cores, worker


class Record:
    """What was asked of Paddle: ``executors`` as [place, by whom], ``predictors`` as places, ``default`` places."""

    def __init__(self) -> None:
        self.executors: list[list[str]] = []
        self.predictors: list[str] = []
        self.default: list[str] = []

    def install(self, gpus: int) -> None:
        """Let Paddle say that it has ``gpus``."""
        import stages.paddle  # noqa: F401, I001  (the door comes before paddle itself)
        import paddle
        import paddle.inference

        class StandInGpu(paddle.CPUPlace):  # type: ignore[misc]
            """Where a program would have run on a GPU."""

            def __init__(self, index: int) -> None:
                super().__init__()
                self.index = index

        executor = paddle.static.Executor

        def made(place: Any = None) -> Any:
            by = sys._getframe(1).f_code.co_name
            self.executors.append([f"gpu:{place.index}" if isinstance(place, StandInGpu) else "cpu", by])
            return executor(place)

        config = paddle.inference.Config

        class Config(config):  # type: ignore[misc, valid-type]
            def enable_use_gpu(this, memory: int, index: int) -> None:
                self.predictors.append(f"gpu:{index}")

            def disable_gpu(this) -> None:
                self.predictors.append("cpu")
                super().disable_gpu()

        if os.environ.get("STANDIN_ONEDNN") == "0":
            paddle.base.core.is_compiled_with_mkldnn = lambda: False
        if memory := os.environ.get("STANDIN_MEMORY"):
            cores.available_memory = lambda root=cores.ROOT: int(memory)
        paddle.is_compiled_with_cuda = lambda: gpus > 0
        paddle.device.cuda.device_count = lambda: gpus
        paddle.framework.random.core.get_cuda_device_count = lambda: 0  # whose generators Paddle 3 would seed
        paddle.device.cuda.get_device_name = lambda index: f"stand-in {index}"
        paddle.device.cuda.max_memory_allocated = lambda index: 3 << 30
        paddle.CUDAPlace = StandInGpu
        paddle.set_device = self.default.append
        paddle.static.Executor = made
        paddle.inference.Config = Config


def main() -> int:
    record = Record()
    record.install(int(os.environ.get("STANDIN_GPUS", "1")))
    code = worker.main()
    work = Path(json.loads(Path(sys.argv[1]).read_text())["work"])
    (work / "places.json").write_text(json.dumps(vars(record)))
    return code


if __name__ == "__main__":
    from stages.processes.pipes import exit_at_once

    exit_at_once(main)
