"""The folder ``paddle/`` of a bundle: the model as PaddleDetection exports it, for what expects it so.

PaddleDetection's `deploy/python/infer.py` and FastDeploy's examples take ``model.pdmodel``, ``model.pdiparams`` and
``infer_cfg.yml``, `deploy/third_engine/onnx/infer.py` takes ``model.onnx``. All of them expect NMS in the model: rows
(class, score, x1, y1, x2, y2) in pixels of the image, and how many there are of each image.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from stages.artifacts import Engine, ExportedModel, Precision
from stages.backends.onnxruntime.recipe import RECIPE
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.options.accuracy import NmsOptions
from stages.options.export import GRAPH
from stages.programs import nms_ending

PROGRAM, PARAMETERS, ONNX = "model.pdmodel", "model.pdiparams", "model.onnx"
INPUTS = ("image", "scale_factor")
"""What the scripts call the inputs that they have."""


def why_not(exported: ExportedModel | Engine) -> str | None:
    """Why the scripts cannot run a model, with or without NMS in it; ``None`` if they can."""
    if not exported.scale_factor:
        return "it takes no scale_factor, so its boxes are in pixels of the network's input, not of the image"
    if (exported.image_input, exported.scale_input) != INPUTS:
        return f"its inputs are called {exported.image_input} and {exported.scale_input}, not {' and '.join(INPUTS)}"
    return None


def write(exported: ExportedModel, nms: NmsOptions, folder: Path) -> None:
    """Write the folder: with NMS in the model, or as it was exported where `why_not` has a reason.

    Raises:
        StageError: the model is damaged.
    """
    folder.mkdir(parents=True)
    shutil.copyfile(exported.path(PARAMETERS), folder / PARAMETERS)
    if why_not(exported) is not None:
        for name in (PROGRAM, FILE_NAME):
            shutil.copyfile(exported.path(name), folder / name)
        return
    (folder / PROGRAM).write_bytes(nms_ending.with_nms(exported.path(PROGRAM).read_bytes(), nms))
    import onnx

    from stages.lowering.inside import ROWS, with_nms_rows
    from stages.lowering.passes import lower

    model = onnx.load(str(exported.path(ONNX)))
    if exported.precision is Precision.INT8:  # the script runs ONNX Runtime
        model, _ = lower(model, RECIPE)
    onnx.save(with_nms_rows(model, nms, exported.boxes_output, exported.scores_output), str(folder / ONNX))
    sidecar = Sidecar.read(exported.path(FILE_NAME))
    said = {
        "nms": GRAPH,
        "thresholds": dict(vars(nms)),
        "outputs": list(ROWS),
        "boxes_layout": f"{ROWS[0]}: [found, (class, score, x1, y1, x2, y2)]",
        "scores_layout": f"{ROWS[1]}: [batch], how many of the rows are of each image",
    }
    dataclasses.replace(sidecar, boxes_output="", scores_output="", extra={**sidecar.extra, **said}).write(folder)
