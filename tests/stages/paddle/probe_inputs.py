"""Runs inside a process that may load Paddle: every form of model that users bring, exported, with what Paddle says.

python -m tests.stages.paddle.probe_inputs FOLDER < {"models": {NAME: MODEL}, "images": IMAGES, "combinations": [...]}

A combination is [NAME, FORM, BATCH].

Under ``FOLDER/NAME`` lie the forms of ``probe_forms`` and ``reference.npz``: Paddle's boxes [images, N, 4] in pixels of
the image and scores [images, classes, N] of the form without NMS. ``FOLDER/NAME/FORM-BATCH`` is the export's folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.stages.paddle import probe_forms


def main(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    import stages.paddle  # isort: skip  # noqa: F401
    import numpy as np

    from stages.artifacts import ImageList, InferenceModel, hash_files
    from stages.codec import artifact_from_json, to_json
    from stages.detection.images import read_image
    from stages.detection.preprocess import Preprocessor
    from stages.detection.sidecar import Sidecar
    from stages.detection.unlabeled import listed_paths
    from stages.export.export import Export, ExportInputs
    from stages.options.export import ExportOptions
    from stages.options.model import ModelOptions
    from stages.paddle.runtime.infer import Predictor
    from tests.fakes import FakeContext

    images = artifact_from_json(given["images"])
    assert isinstance(images, ImageList)
    for name, fields in given["models"].items():  # all of them first: exporting leaves Paddle in static mode
        (folder / name).mkdir()
        probe_forms.main(folder / name, fields)
    found: dict[str, Any] = {}
    for name, fields in given["models"].items():
        model, own = ModelOptions(**fields), folder / name
        sidecar = Sidecar.from_model(model, boxes_output="boxes", scores_output="scores", scale_factor=True)
        batch, scales = Preprocessor(sidecar).batch([read_image(path) for path in listed_paths(images)])
        form = own / "without_nms"
        feeds = {"image": batch, "scale_factor": scales}
        boxes, scores = Predictor(form / "model.pdmodel", form / "model.pdiparams").run(feeds)
        np.savez(own / "reference.npz", boxes=boxes, scores=scores)
        for _, form_name, size in (c for c in given["combinations"] if c[0] == name):
            root = own / form_name
            brought = InferenceModel(root=root, files=hash_files(root))
            options = ExportOptions(model=model, batch=size, agreement_images=1)
            context = FakeContext(own / f"{form_name}-{size}")
            made = Export(options).run(ExportInputs(model=brought, images=images), context)
            found[f"{name} {form_name} {size}"] = to_json(made)
    return found


if __name__ == "__main__":
    result = main(Path(sys.argv[1]), json.load(sys.stdin))
    print(json.dumps(result))
