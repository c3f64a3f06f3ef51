"""Lay the same numbers out differently, where a runtime's kernel is fast in one layout only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from stages.lowering.graph import DEQUANTIZE, QUANTIZE, Array, Graph, PassReport

BLOCK = 4
"""Channels that one integer dot product takes: with fewer, kernels fall back to gathering bytes."""


def softmax_last(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Take the expectation over box edges along the last axis: Transpose, Softmax, projection, in that layout.

    A 1x1 convolution with one output channel is a matrix product along its input channels; with those last, Softmax
    runs over neighbouring numbers instead of strided ones (on ONNX Runtime seven times faster). The result gets its
    layout back. The same numbers up to the order of summation in float32.
    """
    graph, report = Graph(model), PassReport("softmax_last")
    for softmax in graph.of_type("Softmax"):
        transpose = graph.producer(softmax.input[0])
        readers = graph.readers(softmax.output[0])
        axis = next((a.i for a in softmax.attribute if a.name == "axis"), -1)
        if transpose is None or transpose.op_type != "Transpose" or axis % 4 != 1 or len(readers) != 1:
            continue
        order = next((list(a.ints) for a in transpose.attribute if a.name == "perm"), [])
        weight = _projection(graph, readers[0])
        if len(order) != 4 or weight is None or readers[0].output[0] in graph.outputs:
            continue
        name = softmax.output[0]
        last = graph.add_node("Transpose", [transpose.input[0]], f"{name}.last", perm=[order[i] for i in (0, 2, 3, 1)])
        shares = graph.add_node("Softmax", [last], f"{name}.shares", axis=3)
        matrix = graph.add_constant(weight.reshape(-1, 1), f"{name}.projection")
        expected = graph.add_node("MatMul", [shares, matrix], f"{name}.expected")
        back = graph.add_node("Transpose", [expected], f"{name}.back", perm=[0, 3, 1, 2])
        graph.redirect(readers[0].output[0], back)
        graph.remove(readers[0])
        graph.remove(softmax)
        report.count("projections_moved")
    return graph.finish(), report


def projection_to_sum(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Take the expectation over box edges by a product and a sum instead of a convolution.

    OpenVINO's BF16 covers convolutions and all in front of them, and leaves what follows the last one in FP32. With the
    projection as a convolution, the shares that a Softmax gives lose digits, and boxes move (0.12 pixels instead of
    0.08 on blood cells). The same numbers up to the order of summation.
    """
    graph, report = Graph(model), PassReport("projection_to_sum")
    for softmax in graph.of_type("Softmax"):
        for reader in graph.readers(softmax.output[0]):
            if (weight := _projection(graph, reader)) is None or reader.output[0] in graph.outputs:
                continue
            name = softmax.output[0]
            steps = graph.add_constant(weight.reshape(1, -1, 1, 1), f"{name}.steps")
            product = graph.add_node("Mul", [name, steps], f"{name}.products")
            axis = graph.add_constant(np.array([1], np.int64), f"{name}.axis")
            graph.redirect(reader.output[0], graph.add_node("ReduceSum", [product, axis], f"{name}.sum", keepdims=1))
            graph.remove(reader)
            report.count("projections")
    return graph.finish(), report


def pad_image_channels(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Give the quantized image channels of zeros until a dot product takes them all, and the first convolution too.

    The added weights are zero and so is what they meet (the zero point), so no number changes.
    """
    graph, report = Graph(model), PassReport("pad_image_channels")
    for stem in _stems(graph):
        missing = -stem.weight.shape[1] % BLOCK
        if not missing:
            continue
        pixels = stem.quantizer.output[0]
        amounts = graph.add_constant(np.array([0, 0, 0, 0, 0, missing, 0, 0], np.int64), f"{pixels}.pads")
        value = graph.add_constant(graph.scale_of(stem.quantizer).zero_point.reshape(()), f"{pixels}.nothing")
        padded = graph.add_node("Pad", [pixels, amounts, value], f"{pixels}.padded")
        more = np.zeros((stem.weight.shape[0], missing, *stem.weight.shape[2:]), stem.weight.dtype)
        stem.feed(graph, padded, np.concatenate([stem.weight, more], axis=1))
        report.count("images_padded")
    return graph.finish(), report


def fold_image(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Run a first convolution of 3x3 with stride 2 as one of 2x2 with stride 1 on squares of 2x2 pixels as channels.

    Matrix tiles multiply 64 bytes at once: 3 channels leave most of a tile empty, for each of 9 taps; 12 channels leave
    less, and there are 4 taps. Each output is the same sum of products, with zeros among them, so no number changes.
    """
    graph, report = Graph(model), PassReport("fold_image")
    for stem in _stems(graph):
        kept = {a.name: helper.get_attribute_value(a) for a in stem.conv.attribute}
        size = graph.shape(stem.quantizer.input[0])
        plain = {"strides": [2, 2], "pads": [1] * 4, "dilations": [1, 1]}
        if stem.weight.shape[2:] != (3, 3) or any(kept.get(k, [1, 1]) != value for k, value in plain.items()):
            continue
        if size is None or any(v == 0 or v % 2 for v in size[2:]):
            continue
        out, channels = stem.weight.shape[:2]
        folded = np.zeros((out, 4 * channels, 2, 2), stem.weight.dtype)
        for row in range(3):
            for column in range(3):
                # Row -1 is the second of the square above, rows 0 and 1 are the two of this one.
                (up, i), (left, j) = ((int(v > 0), (v + 1) % 2) for v in (row, column))
                group = (2 * i + j) * channels
                folded[:, group : group + channels, up, left] = stem.weight[:, :, row, column]
        pixels = stem.quantizer.output[0]
        stem.feed(graph, graph.add_node("SpaceToDepth", [pixels], f"{pixels}.folded", blocksize=2), folded)
        changed = {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [1, 1, 0, 0]}
        for attribute in stem.conv.attribute:
            if attribute.name in changed:
                attribute.ints[:] = changed[attribute.name]
        report.count("images_folded")
    return graph.finish(), report


@dataclass(frozen=True)
class _Stem:
    """A convolution that reads the quantized image, between the pairs of its input and its weights."""

    conv: onnx.NodeProto
    quantizer: onnx.NodeProto
    pixels: onnx.NodeProto
    weights: onnx.NodeProto
    weight: Array

    def feed(self, graph: Graph, pixels: str, weight: Array) -> None:
        """Let the convolution read the integers ``pixels`` and ``weight``, with the scales it had."""
        axis = graph.scale_of(self.weights).axis
        name = self.conv.output[0]
        read = graph.add_node(DEQUANTIZE, [pixels, *self.pixels.input[1:]], f"{name}.image")
        stored = graph.add_constant(weight, f"{self.weights.input[0]}.image")
        back = graph.add_node(DEQUANTIZE, [stored, *self.weights.input[1:]], f"{name}.image_weights", axis=axis)
        graph.set_input(self.conv, 0, read)
        graph.set_input(self.conv, 1, back)


def _stems(graph: Graph) -> Iterator[_Stem]:
    """The quantized convolutions that read an input of the graph, with a scale per tensor and symmetric weights."""
    for conv in graph.of_type("Conv"):
        pixels, weights = (graph.producer(name) for name in conv.input[:2])
        if pixels is None or weights is None or not pixels.op_type == weights.op_type == DEQUANTIZE:
            continue
        quantizer, weight = graph.producer(pixels.input[0]), graph.constant(weights.input[0])
        if quantizer is None or quantizer.op_type != QUANTIZE or weight is None or weight.ndim != 4:
            continue
        image, how = quantizer.input[0], graph.scale_of(weights)
        given = graph.producer(image) is None and graph.constant(image) is None
        grouped = any(a.name == "group" and a.i != 1 for a in conv.attribute)
        symmetric = not how.zero_point.any() and (how.scale.size == 1 or how.axis % 4 == 0)
        if given and not grouped and symmetric and graph.scale_of(quantizer).scale.size == 1:
            yield _Stem(conv, quantizer, pixels, weights, weight)


def _projection(graph: Graph, node: onnx.NodeProto) -> Array | None:
    """The float weights of a 1x1 convolution with one output channel, no bias, stride 1, no padding; else None."""
    if node.op_type != "Conv" or len([name for name in node.input if name]) != 2:
        return None
    weight = graph.constant(node.input[1])
    if weight is None or weight.dtype != np.float32 or weight.ndim != 4 or weight.shape[0] != 1:
        return None
    plain = {"strides": {1}, "pads": {0}, "group": {1}, "dilations": {1}, "kernel_shape": {1}}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        values = set(value) if isinstance(value, (list, tuple)) else {value}
        if attribute.name in plain and values != plain[attribute.name]:
            return None
    return weight if weight.shape[2:] == (1, 1) else None
