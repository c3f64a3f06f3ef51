"""Runs inside a process that may load Paddle: exports frozen and run on one image.

python -m tests.stages.paddle.probe_brought FOLDER < {"NAME": {"program": FILE, "params": FILE, "model": MODEL}, ...}

Writes ``FOLDER/NAME.npz`` with boxes and scores for ``FOLDER/image-SIZE.npy`` at a scale of 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    import stages.paddle  # isort: skip  # noqa: F401
    import numpy as np

    from stages.options.model import ModelOptions
    from stages.paddle.models.freeze import freeze_program
    from stages.paddle.runtime.infer import Predictor

    found: dict[str, Any] = {}
    for name, own in given.items():
        model, out = ModelOptions(**own["model"]), folder / f"frozen-{name}"
        out.mkdir()
        frozen = freeze_program(Path(own["program"]), Path(own["params"]), out, model=model, batch=1)
        feeds = {frozen.image_input: np.load(folder / f"image-{model.input_size[0]}.npy")}
        if frozen.scale_input:
            feeds[frozen.scale_input] = np.ones((1, 2), np.float32)
        boxes, scores = Predictor(out / "model.pdmodel", out / "model.pdiparams").run(feeds)
        np.savez(folder / f"{name}.npz", boxes=boxes, scores=scores)
        found[name] = [list(boxes.shape), list(scores.shape)]
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), json.load(sys.stdin))))
