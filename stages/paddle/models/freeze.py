"""Detectors as Paddle inference models in the one form the rest of the project understands.

Whatever comes in (a checkpoint, a model exported with NMS, without it, or without any post-processing), what is written
has the inputs ``image`` [+ ``scale_factor``] and the outputs boxes [B, N, 4], scores [B, C, N], in this order, for a
fixed batch and input size. What came in is only read.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import paddle

from stages.detection.published import remark_on_objects365
from stages.errors import WeightsError
from stages.options.model import ModelOptions
from stages.paddle.models import layer_names
from stages.paddle.models.models import build_detector, load_weights
from stages.paddle.pir.program import load_pir
from stages.paddle.runtime.program import EXPORT_HINT, Program, extend, fresh_scope, load_program

_NMS = ("multiclass_nms", "multiclass_nms2", "multiclass_nms3")
_COARSEST = 32  # stride of the coarsest level
_VALUES = 256  # of which its statistics are made, at least: few would fit one image only
_EXPECTED = "Expected are boxes [B, N, 4] and scores [B, C, N], or the NMS that takes them, or [B, N, 4 + C]."


@dataclass(frozen=True)
class Frozen:
    """Names and layout of a frozen model (see ``stages.contract.ExportedModel``)."""

    batch: int
    input_size: tuple[int, int]  # height, width
    classes: int
    anchors: int
    image_input: str
    scale_input: str  # empty if the graph does not take it
    layers: dict[str, str] = field(default_factory=dict)  # see ``layer_names``; empty where they are not known
    remark: str = ""  # what the user should know of the weights

    @property
    def scale_factor(self) -> bool:
        """Whether the graph takes (scale_y, scale_x) and gives boxes in pixels of the original image."""
        return bool(self.scale_input)


def freeze_checkpoint(model: ModelOptions, weights: Path | None, out: Path, *, batch: int, seed: int = 0) -> Frozen:
    """Freeze a PaddleDetection model with ``weights`` (``None``: random ones from ``seed``) into the folder ``out``.

    Raises:
        WeightsError: the weights do not fit the model.
        ConfigError: the architecture is not one of PaddleDetection's.
    """
    paddle.disable_static()
    paddle.seed(seed)
    height, width = (int(v) for v in model.input_size)
    layer = build_detector(model, len(model.labels or ()), exclude_nms=True, eval_size=[height, width])
    layer.eval()
    remark = ""
    if weights is not None:
        remark = remark_on_objects365(load_weights(layer, weights).classes, model.mean, model.std)
    else:
        _estimate_batch_statistics(layer, height, width)
    for part in layer.sublayers():
        if hasattr(part, "convert_to_deploy"):  # merges the parallel branches of a RepVGG block into one convolution
            part.convert_to_deploy()
    spec = {
        "image": paddle.static.InputSpec([batch, 3, height, width], "float32", "image"),
        "scale_factor": paddle.static.InputSpec([batch, 2], "float32", "scale_factor"),
    }
    with tempfile.TemporaryDirectory(prefix="detpress-") as folder:
        prefix = Path(folder) / "model"
        paddle.jit.save(paddle.jit.to_static(layer, input_spec=[spec]), str(prefix))
        frozen = freeze_program(
            prefix.with_suffix(".pdmodel"), prefix.with_suffix(".pdiparams"), out, model=model, batch=batch
        )
    return replace(frozen, layers=layer_names.of_layer(layer), remark=remark)


def _estimate_batch_statistics(layer: Any, height: int, width: int) -> None:
    """Give a layer with random weights the batch statistics it would have at the start of a training.

    Without them activations grow from layer to layer, until nothing can be quantized, let alone trained.
    """
    cells = (height // _COARSEST) * (width // _COARSEST)
    images = max(1, -(-_VALUES // cells))  # the variance of a single value would be zero
    norms = [part for part in layer.sublayers() if isinstance(part, paddle.nn.BatchNorm2D)]
    for norm in norms:
        norm.train()
        norm._momentum = 0.0  # the running statistics become those of this batch
    with paddle.no_grad():
        layer({"image": paddle.randn([images, 3, height, width]), "scale_factor": paddle.ones([images, 2])})
    for norm in norms:
        norm.eval()


def freeze_program(
    program: Path, params: Path, out: Path, *, model: ModelOptions, batch: int, named: bool = False
) -> Frozen:
    """Bring an inference model into the form above: ``model.pdmodel`` and ``model.pdiparams`` in the folder ``out``.

    Args:
        named: find out what PaddleDetection calls its layers (builds the architecture once more, which takes seconds).

    Raises:
        WeightsError: it is no detector of the expected form, or not of this input size, batch or number of classes; the
            message says what was found.
    """
    with fresh_scope():
        loaded = load_pir(program, params) if program.suffix == ".json" else load_program(program, params)
        pruned = loaded.prune(_raw_outputs(loaded, program))
        image, scale = _inputs(pruned, program)
        height, width = _input_size(pruned.shape(image), model, program)
        pruned.feeds = [image, scale] if scale else [image]
        pruned.set_shapes({image: [batch, 3, height, width], **({scale: [batch, 2]} if scale else {})})
        anchors, classes = _layout(pruned, batch, model, program)
        layers = layer_names.of_program(pruned, model, program) if named else {}
        pruned.save(out / "model")
    return Frozen(batch, (height, width), classes, anchors, image, scale, layers)


def _skip_identities(program: Program, name: str) -> str:
    """The variable before the multiplications by one that saving adds to each output."""
    # Backwards through the operators, not by name: saving twice may write an output in place.
    for op in reversed(program.ops()):
        if name not in op.output_arg_names:
            continue
        if op.type != "scale" or op.attr("scale") != 1.0 or op.attr("bias") != 0.0 or op.input("ScaleTensor"):
            break
        name = op.input("X")[0]
    return name


def _raw_outputs(program: Program, file: Path) -> list[str]:
    """Names of boxes and scores before NMS; split from a joined output if need be."""
    names = [_skip_identities(program, name) for name in program.fetches]
    for name in names:
        op = program.producer(name)
        if op is not None and op.type in _NMS:
            return [op.input("BBoxes")[0], op.input("Scores")[0]]
    shapes = [program.shape(name) for name in names]
    found = ", ".join(f"{n} {s}" for n, s in zip(names, shapes, strict=True))
    if len(names) == 1 and len(shapes[0]) == 3 and shapes[0][2] > 4:
        return _split(program, names[0])
    if len(names) == 2 and all(len(s) == 3 for s in shapes):
        for boxes, scores in ((0, 1), (1, 0)):
            if shapes[boxes][2] == 4 and shapes[scores][2] == shapes[boxes][1]:
                return [names[boxes], names[scores]]
    raise WeightsError(f"{file} has the outputs {found}, which is no PP-YOLOE. {_EXPECTED} {EXPORT_HINT}")


def _split(program: Program, name: str) -> list[str]:
    """Boxes and scores of a model exported without any post-processing, whose output is [B, N, 4 + C]."""
    with extend(program.desc, "split"):
        joined = program.block.var(name)
        boxes, scores = joined[:, :, :4], paddle.transpose(joined[:, :, 4:], [0, 2, 1])
    return [boxes.name, scores.name]


def _inputs(program: Program, file: Path) -> tuple[str, str]:
    """Names of the image and of the scale factor ("" if there is none)."""
    shapes = {name: program.shape(name) for name in program.feeds}
    images = [n for n, s in shapes.items() if len(s) == 4 and s[1] == 3]
    scales = [n for n, s in shapes.items() if len(s) == 2 and s[1] == 2 and "scale" in n]
    if len(images) != 1 or len(images) + len(scales) != len(shapes) or len(scales) > 1:
        found = ", ".join(f"{n} {s}" for n, s in shapes.items())
        raise WeightsError(
            f"{file} has the inputs {found}; expected are an image [B, 3, H, W] and perhaps scale_factor [B, 2]. "
            f"{EXPORT_HINT}"
        )
    return images[0], scales[0] if scales else ""


def _input_size(shape: list[int], model: ModelOptions, file: Path) -> tuple[int, int]:
    height, width = (int(v) for v in model.input_size)
    for own, asked in zip(shape[2:], (height, width), strict=True):
        if own not in (-1, asked):
            raise WeightsError(
                f"{file} takes images of {shape[2]}x{shape[3]}, the config asks for {height}x{width}. "
                f"Set model.input_size=[{shape[2]},{shape[3]}], or export the model for the other size."
            )
    return height, width


def _layout(program: Program, batch: int, model: ModelOptions, file: Path) -> tuple[int, int]:
    """(anchors, classes) after checking that boxes and scores have the expected shapes for this batch."""
    boxes, scores = (program.shape(name) for name in program.fetches)
    if len(boxes) != 3 or len(scores) != 3 or boxes[2] != 4 or boxes[1] != scores[2]:
        raise WeightsError(f"{file} computes boxes {boxes} and scores {scores}. {_EXPECTED} {EXPORT_HINT}")
    if boxes[0] not in (-1, batch) or scores[0] not in (-1, batch):
        raise WeightsError(
            f"{file} was exported for batches of {boxes[0]} only, the config asks for {batch}. "
            f"Set export.batch={boxes[0]}, or export the model with an open batch (-1)."
        )
    labels = len(model.labels or ())
    if labels and scores[1] != labels:
        raise WeightsError(
            f"{file} knows {scores[1]} classes, the data or model.labels have {labels}. "
            "Give the labels it was trained with (model.labels=[...]), or the model that belongs to the data."
        )
    return boxes[1], scores[1]
