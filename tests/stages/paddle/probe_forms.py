"""Runs inside a process that may load Paddle: one small detector in the forms users bring.

python -m tests.stages.paddle.probe_forms FOLDER < MODEL.json

Writes ``checkpoint/model.pdparams`` and the inference models ``with_nms``, ``without_nms``, ``raw`` (joined outputs).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from stages.options.model import ModelOptions


def main(folder: Path, fields: dict[str, Any]) -> None:
    from stages.paddle.models.models import build_detector  # isort: skip  (the door comes before paddle itself)
    import numpy as np
    import paddle

    from stages.data.weights import write_pdparams

    model = ModelOptions(**fields)
    classes = len(model.labels or ())
    rng = np.random.default_rng(0)
    state = {name: value.numpy() for name, value in build_detector(model, classes).state_dict().items()}
    for name, value in state.items():
        if "proj_conv" in name:
            state[name] = value * np.float32(0.999)  # averaging and weight decay do not leave it exact
        elif value.ndim == 4:  # a fresh head is all zeros: nothing to compare
            fan = np.prod(value.shape[1:])
            state[name] = (rng.standard_normal(value.shape) * np.sqrt(2 / fan)).astype(np.float32)
    (folder / "checkpoint").mkdir()
    write_pdparams(folder / "checkpoint" / "model.pdparams", state)
    forms: dict[str, dict[str, Any]] = {
        "with_nms": {},
        "without_nms": {"exclude_nms": True},
        "raw": {"exclude_post_process": True},
    }
    height, width = model.input_size
    for form, switches in forms.items():
        layer = build_detector(model, classes, **switches)
        layer.set_state_dict({name: paddle.to_tensor(value) for name, value in state.items()})
        layer.eval()
        for part in layer.sublayers():
            if hasattr(part, "convert_to_deploy"):
                part.convert_to_deploy()
        batch = -1 if form == "without_nms" else 1
        spec = {
            "image": paddle.static.InputSpec([batch, 3, height, width], "float32", "image"),
            "scale_factor": paddle.static.InputSpec([batch, 2], "float32", "scale_factor"),
        }
        traced = paddle.jit.to_static(layer, input_spec=[spec])
        used = {"image": spec["image"]} if form == "raw" else spec  # the others scale the boxes
        paddle.jit.save(traced, str(folder / form / "model"), input_spec=[used])


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.load(sys.stdin))
