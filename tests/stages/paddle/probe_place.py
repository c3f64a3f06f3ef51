"""Which GPUs several processes would take, asked of a Paddle that says it has some; prints one line of JSON."""

from __future__ import annotations

import json
import os
from typing import Any


def main() -> None:
    from stages.errors import ConfigError
    from stages.paddle.runtime import place  # the door to Paddle; Paddle itself comes after it
    from stages.processes.device import request_device

    import paddle  # isort: skip

    request_device("auto", lambda text: None, lambda text: None)
    found: dict[str, Any] = {"really": place.gpus_for(2)}
    paddle.is_compiled_with_cuda = lambda: True
    paddle.device.cuda.device_count = lambda: 4
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    found["one"], found["two"] = place.gpus_for(1), place.gpus_for(2)
    os.environ["CUDA_VISIBLE_DEVICES"] = "7,GPU-5,3,2"
    found["named"] = place.gpus_for(2)
    try:
        place.gpus_for(8)
    except ConfigError as error:
        found["too many"] = str(error)
    request_device("gpu:1", lambda text: None, lambda text: None)
    try:
        place.gpus_for(2)
    except ConfigError as error:
        found["one named"] = str(error)
    request_device("cpu", lambda text: None, lambda text: None)
    found["cpu"] = place.gpus_for(2)
    found["here"] = str(place.current_place())
    request_device("auto", lambda text: None, lambda text: None)
    paddle.device.cuda.device_count = lambda: 0
    found["none"] = place.gpus_for(2)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
