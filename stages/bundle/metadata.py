"""What an ONNX file of a bundle says of itself (``metadata_props``); `stages/bundle/described.py` reads it.

Each value is JSON; `About` lists them. ``detpress`` is the version of the keys, ``model_sha256`` the digest of the
exported ``model.onnx`` that the engine was built from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from stages import backends
from stages.artifacts import Engine, ExportedModel, Precision
from stages.backends.base import OwnOnnx
from stages.backends.recipes import PORTABLE
from stages.detection.sidecar import Sidecar
from stages.options.accuracy import NmsOptions
from stages.options.export import GRAPH, NMS_OUTPUTS, OUTSIDE, Inside
from stages.report.schema_thresholds import MovedThresholds

if TYPE_CHECKING:
    from typing_extensions import NotRequired

KEY, VERSION = "detpress", 1
LICENSE = (
    "The architecture and the tools come from PaddleDetection and PaddleSlim (Apache-2.0). The weights carry the terms "
    "of the checkpoint and of the images that they were trained on: check them before you pass this file on."
)
ONNX_FILE = "model.onnx"


class Preprocess(TypedDict):
    """How an image becomes the input: resized without keeping the aspect ratio, channels in the order R, G, B, divided
    by 255 with ``scale``, then ``(x - mean) / std``."""

    input_size: list[int]
    """Height, width."""
    interpolation: str
    scale: bool
    mean: list[float]
    std: list[float]


class About(TypedDict):
    """The keys and what their values are."""

    detpress: int
    description: str
    run_id: str
    model: str
    precision: str
    model_sha256: str
    labels: list[str]
    preprocess: Preprocess
    inputs: dict[str, str]
    """``image`` and, if the graph takes it, ``scale_factor`` (then boxes come in pixels of the image) -> tensor."""
    outputs: dict[str, str]
    """``boxes`` and ``scores``, or with NMS in the graph ``num_dets``, ``boxes``, ``scores``, ``labels`` -> tensor."""
    nms: dict[str, Any]
    nms_in: str
    """``outside``, or ``graph``: see ``stages/lowering/inside.py``."""
    preprocess_in: str
    """``outside``, or ``graph``: the image is then uint8 [batch, H, W, 3], RGB, and only to be resized."""
    draw_threshold: float
    thresholds: NotRequired[MovedThresholds]
    """Absent where the run named no threshold: see ``stages/bundle/thresholds.py``."""
    license: str


def about(
    engine: Engine,
    sidecar: Sidecar,
    exported: ExportedModel,
    *,
    run_id: str,
    model: str,
    nms: NmsOptions,
    inside: Inside | None,
) -> About:
    """What is to be said of an engine's ONNX file, or of the exported one that it was built from.

    Args:
        inside: what the graph of the file does itself.
    """
    outputs = {"boxes": engine.boxes_output, "scores": engine.scores_output}
    return {
        "detpress": VERSION,
        "description": f"{model} detector in {engine.precision}, made by detpress",
        "run_id": run_id,
        "model": model,
        "precision": str(engine.precision),
        "model_sha256": exported.files.get(ONNX_FILE, ""),
        "labels": list(sidecar.labels),
        "preprocess": {
            "input_size": list(sidecar.input_size),
            "interpolation": sidecar.interpolation,
            "scale": sidecar.scale,
            "mean": list(sidecar.mean),
            "std": list(sidecar.std),
        },
        "inputs": {"image": engine.image_input} | ({"scale_factor": engine.scale_input} if engine.scale_factor else {}),
        "outputs": {name: name for name in NMS_OUTPUTS} if inside is not None and inside.nms is not None else outputs,
        "nms": dict(vars(nms)),
        "nms_in": GRAPH if inside is not None and inside.nms is not None else OUTSIDE,
        "preprocess_in": GRAPH if inside is not None and inside.preprocess else OUTSIDE,
        "draw_threshold": sidecar.draw_threshold,
        "license": LICENSE,
    }


def onnx_beside(engine: Engine, exported: ExportedModel, path: Path) -> None:
    """Write the ONNX file that goes with an engine which is none: for other runtimes, or to build from.

    In INT8 it is lowered. As it was exported OpenVINO finds other boxes in it, TensorRT does not read it, and ONNX
    Runtime convolves most of it in float.
    """
    import onnx

    from stages.lowering.passes import lower

    model = onnx.load(str(exported.path("model.onnx")))
    if engine.variant.weights is Precision.INT8:
        backend = backends.get(engine.backend)
        model, _ = lower(model, backend.onnx_recipe if isinstance(backend, OwnOnnx) else PORTABLE)
    onnx.save(model, str(path))


def describe(path: Path, content: About) -> None:
    """Write the properties into an ONNX file, in place of earlier ones of the same names."""
    import onnx

    model = onnx.load(str(path))
    others = {prop.key: prop.value for prop in model.metadata_props if prop.key not in content}
    own = {key: json.dumps(value, ensure_ascii=False) for key, value in content.items()}
    onnx.helper.set_model_props(model, {**others, **own})
    onnx.save(model, str(path))
