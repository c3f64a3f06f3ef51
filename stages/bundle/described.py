"""A detector from an ONNX file alone, by what the file says of itself (`stages/bundle/metadata.py`).

The file may be anybody's: whatever does not fit is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.artifacts import Engine, hash_files
from stages.bundle.metadata import KEY, ONNX_FILE, VERSION, About
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

_LARGEST_SIDE = 1 << 14


@dataclass(frozen=True)
class Described:
    """A detector that one file tells everything about; what `stages.bundle.predict` needs."""

    name: Path
    engine: Engine
    nms: NmsOptions
    draw_threshold: float
    moved: MovedThresholds | None = None


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
    (folder / ONNX_FILE).write_bytes(content)
    sidecar.write(folder)
    engine = Engine(
        root=folder,
        files=hash_files(folder),
        backend="onnxruntime",
        precision=said["precision"],
        main=ONNX_FILE,
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
