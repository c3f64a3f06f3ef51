"""Runs inside a process that may load Paddle: programs of Paddle 3, run by the Paddle that is installed.

python -m tests.stages.paddle.pir.probe_pir FOLDER < {"small": [NAME, ...], "demo": WEIGHTS or null, "model": MODEL}

Each ``FOLDER/NAME`` holds an export and ``feeds.npz``; its outputs go to ``NAME/outputs.npz``, an error's text into the
answer. For the demo, ``FOLDER/demo/inference.json`` gets its parameters from the checkpoint; both are frozen and run
on one image.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def run(folder: Path) -> str:
    import numpy as np
    import paddle

    from stages.errors import WeightsError
    from stages.paddle.pir.program import load_pir
    from stages.paddle.runtime.program import fresh_scope

    with fresh_scope():
        try:
            program = load_pir(folder / "inference.json", folder / "inference.pdiparams")
        except WeightsError as error:
            return str(error)
        with np.load(folder / "feeds.npz") as feeds:
            found = paddle.static.Executor(paddle.CPUPlace()).run(
                program.desc, feed={name: feeds[name] for name in program.feeds}, fetch_list=program.fetches
            )
    np.savez(folder / "outputs.npz", **{f"out_{i}": value for i, value in enumerate(found)})
    return ""


def demo(folder: Path, weights: Path, fields: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    import paddle

    from stages.options.model import ModelOptions
    from stages.paddle.models.freeze import freeze_checkpoint, freeze_program
    from stages.paddle.models.models import build_detector, load_weights, merge_branches
    from stages.paddle.runtime.infer import Predictor
    from stages.programs.pir import read_program
    from tests.stages.programs.writing import tensor

    model = ModelOptions(**fields)
    layer = build_detector(model, len(model.labels or ()), exclude_nms=True)
    load_weights(layer, weights)
    layer.eval()
    merge_branches(layer)
    arrays = {value.name: value.numpy() for value in layer.state_dict().values()}
    named = {o.attributes["name"] for o in read_program(folder / "inference.json") if o.kind == "p"}
    (folder / "inference.pdiparams").write_bytes(b"".join(tensor(arrays[name]) for name in sorted(named)))
    image = np.random.default_rng(1).standard_normal((1, 3, *model.input_size)).astype(np.float32)
    feeds = {"image": image, "scale_factor": np.array([[0.5, 0.25]], np.float32)}
    outputs, layers = [], []
    for name in ("ours", "theirs"):
        out = folder / name
        out.mkdir()
        if name == "ours":
            frozen = freeze_checkpoint(model, weights, out, batch=1)
        else:
            files = folder / "inference.json", folder / "inference.pdiparams"
            frozen = freeze_program(*files, out, model=model, batch=1, named=True)
        paddle.disable_static()
        outputs.append(Predictor(out / "model.pdmodel", out / "model.pdiparams").run(feeds))
        layers.append(sorted(frozen.layers.values()))
    return {
        "differences": [float(np.abs(a - b).max()) for a, b in zip(*outputs, strict=True)],
        "largest": [float(np.abs(a).max()) for a in outputs[0]],
        "layers": [len(layers[0]), layers[0] == layers[1]],
    }


def main(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    import stages.paddle  # noqa: F401  (the door comes before paddle itself)

    found: dict[str, Any] = {}
    if given["demo"]:
        found["demo"] = demo(folder / "demo", Path(given["demo"]), given["model"])
    return {**found, **{name: run(folder / name) for name in given["small"]}}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), json.load(sys.stdin))))
