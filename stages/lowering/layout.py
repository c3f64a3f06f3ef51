"""Lay the same numbers out differently, where a runtime's kernel is fast in one layout only."""

from __future__ import annotations

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


def pad_image_channels(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Give the quantized image channels of zeros until a dot product takes them all, and the first convolution too.

    The added weights are zero and so is what they meet (the zero point), so no number changes.
    """
    graph, report = Graph(model), PassReport("pad_image_channels")
    for conv in graph.of_type("Conv"):
        source, back = (graph.producer(name) for name in conv.input[:2])
        if source is None or back is None or not source.op_type == back.op_type == DEQUANTIZE:
            continue
        quantizer = graph.producer(source.input[0])
        weight = graph.constant(back.input[0])
        grouped = any(a.name == "group" and a.i != 1 for a in conv.attribute)
        if quantizer is None or quantizer.op_type != QUANTIZE or weight is None or weight.ndim != 4 or grouped:
            continue
        missing = -weight.shape[1] % BLOCK
        pixels, weights = graph.scale_of(quantizer), graph.scale_of(back)
        of_image = graph.producer(quantizer.input[0]) is None and graph.constant(quantizer.input[0]) is None
        if not missing or not of_image or pixels.zero_point.size != 1 or weights.axis == 1 or weights.zero_point.any():
            continue
        amounts = graph.add_constant(np.array([0, 0, 0, 0, 0, missing, 0, 0], np.int64), f"{quantizer.output[0]}.pads")
        value = graph.add_constant(pixels.zero_point.reshape(()), f"{quantizer.output[0]}.nothing")
        padded = graph.add_node("Pad", [quantizer.output[0], amounts, value], f"{quantizer.output[0]}.padded")
        constants = list(source.input[1:])
        whole = graph.add_node(DEQUANTIZE, [padded, *constants], f"{source.output[0]}.padded", axis=pixels.axis)
        more = np.zeros((weight.shape[0], missing, *weight.shape[2:]), weight.dtype)
        wide = graph.add_constant(np.concatenate([weight, more], axis=1), f"{back.input[0]}.padded")
        full = graph.add_node(DEQUANTIZE, [wide, *back.input[1:]], f"{back.output[0]}.padded", axis=weights.axis)
        graph.set_input(conv, 0, whole)
        graph.set_input(conv, 1, full)
        report.count("images_padded")
    return graph.finish(), report


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
