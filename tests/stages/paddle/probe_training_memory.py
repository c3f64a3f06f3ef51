"""Runs inside a process that may load Paddle: what trainings on oneDNN's convolutions are estimated to need.

python -m tests.stages.paddle.probe_training_memory < {"NAME": {"options": {...}, "batch": N}, ...} > JSON

The JSON is the bytes by name.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def estimated(options: dict[str, Any], batch: int) -> int:
    from stages.options.model import ModelOptions
    from stages.paddle.models.models import build_detector
    from stages.paddle.models.onednn_training import OneDnnConvolutions
    from stages.paddle.models.training import fresh_start

    with fresh_start(0):
        layer = build_detector(ModelOptions(**options), 5)
        return OneDnnConvolutions(layer, (batch, 3, *options["input_size"]), 1).memory


def main(given: dict[str, Any]) -> dict[str, int]:
    import stages.paddle  # noqa: F401  (the door comes before paddle itself)

    return {name: estimated(case["options"], case["batch"]) for name, case in given.items()}


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
