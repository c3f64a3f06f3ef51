"""What an ONNX file of a bundle says of itself (``metadata_props``), and a detector from such a file alone.

Each value is JSON; `About` lists them. ``detpress`` is the version of the keys, ``model_sha256`` the digest of the
exported ``model.onnx`` that the engine was built from.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from stages import backends
from stages.artifacts import Engine, ExportedModel, Precision, hash_files
from stages.backends.base import OwnOnnx
from stages.backends.recipes import PORTABLE
from stages.bundle.thresholds import require_fitting
from stages.detection.sidecar import Sidecar
from stages.errors import InputError
from stages.numerics.variants import VARIANTS
from stages.options.accuracy import NmsOptions
from stages.options.check import check_options
from stages.options.export import GRAPH, NMS_OUTPUTS, OUTSIDE, Inside
from stages.options.model import INTERPOLATIONS
from stages.outside import files, records
from stages.report.schema_thresholds import MovedThresholds

if TYPE_CHECKING:
    import onnx
    from typing_extensions import NotRequired

KEY, VERSION = "detpress", 1
LICENSE = (
    "The architecture and the tools come from PaddleDetection and PaddleSlim (Apache-2.0). The weights carry the terms "
    "of the checkpoint and of the images that they were trained on: check them before you pass this file on."
)
_FILE = "model.onnx"
_LARGEST_SIDE = 1 << 14


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


@dataclass(frozen=True)
class Described:
    """A detector that one file tells everything about; what `stages.bundle.predict` needs."""

    name: Path
    engine: Engine
    nms: NmsOptions
    draw_threshold: float
    moved: MovedThresholds | None = None


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
        "model_sha256": exported.files.get(_FILE, ""),
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


def open_file(path: Path, folder: Path) -> Described:
    """A detector from its ONNX file alone, to run with ONNX Runtime on the CPU.

    Args:
        folder: an empty one, for a copy of the file and its ``infer_cfg.yml``.

    Raises:
        InputError: the file cannot be read, does not say what it is, or says what cannot be.
    """
    try:
        content = files.read_bytes(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    model = _parsed(content, path)
    said = _said(model, path)
    sidecar = _sidecar(said, path)
    nms = records.made(NmsOptions, said["nms"], f"{path}: nms")
    if problems := check_options(nms, f"{path}: nms"):
        raise InputError(str(problems[0]))
    batch = _batch(model, said, path)
    inside = Inside(nms if said["nms_in"] == GRAPH else None, said["preprocess_in"] == GRAPH)
    (folder / _FILE).write_bytes(content)
    sidecar.write(folder)
    engine = Engine(
        root=folder,
        files=hash_files(folder),
        backend="onnxruntime",
        precision=said["precision"],
        main=_FILE,
        input_size=list(sidecar.input_size),
        batch=batch,
        scale_factor=sidecar.scale_factor,
        image_input=sidecar.image_input,
        scale_input=sidecar.scale_input,
        boxes_output=sidecar.boxes_output,
        scores_output=sidecar.scores_output,
        inside=None if inside == Inside() else inside,
    )
    moved = said.get("thresholds")
    if moved is not None:
        require_fitting(moved, sidecar.labels, str(path))
    return Described(path, engine, nms, sidecar.draw_threshold, moved)


def _parsed(content: bytes, path: Path) -> onnx.ModelProto:
    """The model; refused if it names other files, which whoever made it may have chosen at will."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise InputError(f"{path} is no whole ONNX file; copy it again") from error
    if _has_external_data(model):
        raise InputError(f"{path} keeps its weights in other files: refused; save it with the weights inside")
    return model


def _has_external_data(message: Any) -> bool:
    """Whether a tensor anywhere in a protobuf message lies in another file; without recursion."""
    import onnx
    from google.protobuf.message import Message

    ahead = [message]
    while ahead:
        current = ahead.pop()
        if isinstance(current, onnx.TensorProto):
            if current.data_location == onnx.TensorProto.EXTERNAL:
                return True
            continue
        for _, value in current.ListFields():
            ahead += [item for item in (value if hasattr(value, "append") else [value]) if isinstance(item, Message)]
    return False


def _said(model: onnx.ModelProto, path: Path) -> About:
    """The properties, checked for their form."""
    found = {prop.key: prop.value for prop in model.metadata_props if prop.key in About.__annotations__}
    if KEY not in found:
        raise InputError(
            f"{path} says nothing of classes and preprocessing, so it cannot be used alone; give an ONNX file out of a "
            "bundle of this version, or the bundle itself"
        )
    said: Any = {key: records.parse(value, f"{path}: {key}", Any) for key, value in found.items()}
    try:
        records.conform(said, About)
    except ValueError as error:
        raise InputError(f"{path} cannot be used: {error}") from error
    if said[KEY] != VERSION:
        raise InputError(f"{path} was made by another version (properties {said[KEY]}, expected {VERSION})")
    if said["precision"] not in VARIANTS:
        raise InputError(f"{path}: precision is {said['precision']!r}; there are {', '.join(VARIANTS)}")
    about_: About = said
    return about_


def _sidecar(said: About, path: Path) -> Sidecar:
    """The values that preprocessing goes by, checked for what they are."""
    steps, inputs, outputs = said["preprocess"], said["inputs"], said["outputs"]
    numbers = [*steps["mean"], *steps["std"], said["draw_threshold"]]
    sizes = steps["input_size"]
    wrong = {
        "labels": not said["labels"],
        "preprocess.input_size": len(sizes) != 2 or not all(0 < side <= _LARGEST_SIDE for side in sizes),
        "preprocess.interpolation": steps["interpolation"] not in INTERPOLATIONS,
        "preprocess.mean": len(steps["mean"]) != 3,
        "preprocess.std": len(steps["std"]) != 3 or 0 in steps["std"],
        "inputs": "image" not in inputs,
        "nms_in": said["nms_in"] not in (OUTSIDE, GRAPH),
        "preprocess_in": said["preprocess_in"] not in (OUTSIDE, GRAPH),
        "outputs": not {"boxes", "scores"} <= set(outputs)
        or (said["nms_in"] == GRAPH and outputs != {name: name for name in NMS_OUTPUTS}),
        "numbers": not all(math.isfinite(number) for number in numbers),
    }
    for field, is_wrong in wrong.items():
        if is_wrong:
            raise InputError(
                f"{path} cannot be used: its property {field} does not fit; take the file anew from the bundle"
            )
    return Sidecar(
        input_size=(sizes[0], sizes[1]),
        interpolation=steps["interpolation"],
        mean=tuple(steps["mean"]),
        std=tuple(steps["std"]),
        scale=steps["scale"],
        labels=tuple(said["labels"]),
        image_input=inputs["image"],
        scale_input=inputs.get("scale_factor", ""),
        scale_factor="scale_factor" in inputs,
        boxes_output=outputs["boxes"],
        scores_output=outputs["scores"],
        draw_threshold=said["draw_threshold"],
    )


def _batch(model: onnx.ModelProto, said: About, path: Path) -> int:
    """Images of a run, after making sure that the graph is what the properties say of it."""
    graph = model.graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.output)}
    for name in (*said["inputs"].values(), *said["outputs"].values()):
        if name not in shapes:
            raise InputError(f"{path} cannot be used: its properties name {name!r}, which the graph does not have")
    batch, *rest = [int(side) for side in shapes[said["inputs"]["image"]]] or [0]
    classes = shapes[said["outputs"]["scores"]][1:2]
    size, in_graph = said["preprocess"]["input_size"], said["preprocess_in"] == GRAPH
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    import onnx

    takes_bytes = kinds.get(said["inputs"]["image"]) == onnx.TensorProto.UINT8
    if batch < 1 or rest != ([*size, 3] if in_graph else [3, *size]) or takes_bytes != in_graph:
        raise InputError(f"{path} cannot be used: its image input is {[batch, *rest]}, its properties say otherwise")
    if said["nms_in"] == OUTSIDE and classes != [len(said["labels"])]:
        raise InputError(f"{path} cannot be used: it scores {classes} classes and names {len(said['labels'])}")
    return batch
