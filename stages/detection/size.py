"""How many parameters a detector has and what an image costs: from its configuration, or from its ONNX file.

From the configuration nothing is built and Paddle is not loaded. The layers are those of CSPResNet, CustomCSPPAN and
PPYOLOEHead as they are exported, with each RepVGG block folded into one 3x3 convolution. A file may hold any network;
what it learned is told from tables by what reads it. Where a network has batch normalization behind its convolutions,
the file has one number more for each of their channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.options.model import ModelOptions

if TYPE_CHECKING:
    import onnx

CLASSES = 80
"""Where the labels are not known yet."""
_LEARNED = {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "PRelu", "InstanceNormalization"}
"""Operators whose constant inputs are weights."""


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


def parameters(path: Path) -> int:
    """Numbers that an ONNX model learned: weights, and biases that are added right behind them.

    Anchor points, strides and other tables that the exporter wrote down as constants do not count.
    """
    import onnx

    return count(onnx.load(str(path)))


def count(model: onnx.ModelProto) -> int:
    """As `parameters`, of a loaded model."""
    graph = model.graph
    constants = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    constants[node.output[0]] = math.prod(attribute.t.dims)
    products = {name for node in graph.node if node.op_type in _LEARNED for name in node.output}
    learned: dict[str, int] = {}
    for node in graph.node:
        is_bias = node.op_type == "Add" and any(name in products for name in node.input)
        if node.op_type in _LEARNED or is_bias:
            running = 3 if node.op_type == "BatchNormalization" else None  # behind it: statistics, not weights
            learned |= {name: constants[name] for name in node.input[:running] if name in constants}
    return sum(learned.values())


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
