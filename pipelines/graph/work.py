"""How much work a model is, so that what a stage took for one model says what it will take for another.

Counted from the configuration: nothing is built and Paddle is not loaded. The layers are those of CSPResNet,
CustomCSPPAN and PPYOLOEHead as they are exported, with each RepVGG block folded into one 3x3 convolution.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.execution import ids
from pipelines.execution.node import Node, Work
from stages.options.model import ModelOptions

CLASSES = 80
"""Where the labels are not known yet."""
PER_IMAGE = 1.2e9
"""Multiply-adds that take as long as what an image costs beside its convolutions; between the demo's detector and
PP-YOLOE-l, steps of the distillation and runs of the engines then differ about as they were measured to."""
PER_MODEL = 1e7
"""Parameters that take as long as what an export or a build costs for a model of any size."""
TRAINING = ("finetune", "lighten", "distill", "search")
"""Stages that take batches."""
BY_COMPUTATION = (
    *TRAINING,
    *("latency", "throughput", "profile", "accuracy", "detect", "thresholds", "sensitivity", "float_blocks"),
)
BY_SIZE = ("export", "build", "bundle")
"""Stages whose time grows with the model's multiply-adds, and with its parameters."""


@dataclass(frozen=True)
class ModelSize:
    """Of a model as it is exported."""

    parameters: int
    multiply_adds: int
    """Of one image."""


@dataclass(frozen=True)
class _Convolution:
    taps: int
    inputs: int
    outputs: int
    cells: int
    """Where it is applied: height times width of its output."""


def sized(nodes: Sequence[Node], model: ModelOptions) -> list[Node]:
    """The nodes, each that works on the model with how much work that is."""
    found = size_of(model)
    return [
        _sized(node, node.options.model.name, size_of(node.options.model))
        if node.id == ids.TEACHER
        else _sized(node, model.name, found)
        for node in nodes
    ]


def size_of(model: ModelOptions) -> ModelSize | None:
    """Parameters and multiply-adds of one image; ``None`` for an architecture that is not PP-YOLOE's."""
    a = model.architecture
    head = a.get("YOLOv3") or a.get("PPYOLOEWithAuxHead") or {}
    if (head.get("backbone"), head.get("neck"), head.get("yolo_head")) != ("CSPResNet", "CustomCSPPAN", "PPYOLOEHead"):
        return None
    try:
        layers = list(_layers(a, model.input_size, len(model.labels or []) or CLASSES))
    except (KeyError, TypeError, ValueError, IndexError):  # an entry of the user's own that is put together otherwise
        return None
    weights = [layer.taps * layer.inputs * layer.outputs for layer in layers]
    return ModelSize(
        sum(weights) + sum(layer.outputs for layer in layers),
        sum(weight * layer.cells for weight, layer in zip(weights, layers, strict=True)),
    )


def _sized(node: Node, model: str, size: ModelSize | None) -> Node:
    if node.stage not in (*BY_COMPUTATION, *BY_SIZE):
        return node
    if size is None:
        return dataclasses.replace(node, work=Work(model))
    amount = size.parameters + PER_MODEL if node.stage in BY_SIZE else size.multiply_adds + PER_IMAGE
    if node.stage in TRAINING:
        amount *= node.options.batch
    elif node.stage == "detect":
        amount *= node.options.images
    parameters = float(size.parameters) if node.stage in (*BY_SIZE, *TRAINING) else None
    return dataclasses.replace(node, work=Work(model, amount, parameters))


# --- the layers -----------------------------------------------------------------------------------------------------


def _layers(a: Mapping[str, Any], size: Sequence[int], classes: int) -> Iterator[_Convolution]:
    depth, width = a["depth_mult"], a["width_mult"]
    backbone, neck, head = a["CSPResNet"], a["CustomCSPPAN"], a["PPYOLOEHead"]

    def conv(inputs: int, outputs: int, kernel: int, stride: int) -> _Convolution:
        return _Convolution(kernel * kernel, inputs, outputs, (size[0] // stride) * (size[1] // stride))

    def block(channels: int, count: int, stride: int) -> Iterator[_Convolution]:
        for _ in range(2 * count):
            yield conv(channels, channels, 3, stride)

    def scaled(channels: Sequence[int]) -> list[int]:
        return [max(round(c * width), 1) for c in channels]

    stem, *channels = scaled(backbone["channels"])
    yield conv(3, stem // 2, 3, 2)
    yield conv(stem // 2, stem // 2, 3, 2)
    yield conv(stem // 2, stem, 3, 2)
    before = stem
    for i, (after, layers) in enumerate(zip(channels, backbone["layers"], strict=True)):
        stride, middle = 4 << i, (before + after) // 2
        yield conv(before, middle, 3, stride)
        yield conv(middle, middle // 2, 1, stride)
        yield conv(middle, middle // 2, 1, stride)
        yield from block(middle // 2, max(round(layers * depth), 1), stride)
        yield _Convolution(1, middle, middle, 1)  # of the attention, on the mean over all cells
        yield conv(middle, after, 1, stride)
        before = after

    def stage(inputs: int, outputs: int, stride: int, *, spp: bool = False) -> Iterator[_Convolution]:
        middle = outputs // 2
        yield conv(inputs, middle, 1, stride)
        yield conv(inputs, middle, 1, stride)
        yield from block(middle, round(neck["block_num"] * depth), stride)
        if spp:
            yield conv(4 * middle, middle, 1, stride)
        yield conv(2 * middle, outputs, 1, stride)

    incoming = [channels[i] for i in reversed(backbone["return_idx"])]
    outgoing = scaled(neck["out_channels"])
    strides = head["fpn_strides"]
    for i, (inputs, outputs) in enumerate(zip(incoming, outgoing, strict=True)):
        yield from stage(inputs + (outgoing[i - 1] // 2 if i else 0), outputs, strides[i], spp=neck["spp"] and not i)
        if i < len(outgoing) - 1:
            yield conv(outputs, outputs // 2, 1, strides[i])
    for i in reversed(range(len(outgoing) - 1)):
        yield conv(outgoing[i + 1], outgoing[i + 1], 3, strides[i])
        yield from stage(outgoing[i] + outgoing[i + 1], outgoing[i], strides[i])
    kernel = 3 if head.get("attn_conv") == "repvgg" else 1
    for outputs, stride in zip(outgoing, strides, strict=True):
        for predicted in (classes, 4 * (head.get("reg_max", 16) + 1)):
            yield _Convolution(1, outputs, outputs, 1)
            yield conv(outputs, outputs, kernel, stride)
            yield conv(outputs, predicted, 3, stride)
