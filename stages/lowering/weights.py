"""Passes on what is constant in a Q/DQ graph: weights, biases, scales.

Paddle2ONNX writes a weight as float32 followed by QuantizeLinear and DequantizeLinear. Runtimes look for an INT8
initializer followed by DequantizeLinear; behind a QuantizeLinear they either fold both away (and compute in float) or
keep the pair in the graph.
"""

from __future__ import annotations

import numpy as np
import onnx

from stages.errors import StageError
from stages.lowering.graph import DEQUANTIZE, QUANTIZE, Array, Graph, PassReport, Scale

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""Below this a scale counts as zero: it is zero, or subnormal and flushed to zero by some runtimes."""


def quantize(values: Array, how: Scale) -> Array:
    """``saturate(round_half_even(values / scale) + zero_point)`` in float32, as ONNX defines QuantizeLinear."""
    bounds = np.iinfo(how.zero_point.dtype)
    steps = np.rint(values.astype(np.float32) / how.along(how.scale, values.ndim))
    shifted = steps + how.along(how.zero_point, values.ndim).astype(np.float32)
    return np.asarray(np.clip(shifted, bounds.min, bounds.max).astype(how.zero_point.dtype))


def dequantize(values: Array, how: Scale) -> Array:
    """``(values - zero_point) * scale`` in float32, as ONNX defines DequantizeLinear."""
    centred = values.astype(np.int64) - how.along(how.zero_point, values.ndim).astype(np.int64)
    return np.asarray((centred.astype(np.float32) * how.along(how.scale, values.ndim)).astype(np.float32))


def fold_weights(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Replace each constant behind QuantizeLinear by the INT8 constant that it computes. Outputs stay the same.

    Raises:
        StageError: a scale of zero (run `lift_zero_scales` first), or a weight that is not finite.
    """
    graph, report = Graph(model), PassReport("fold_weights")
    for node in graph.of_type(QUANTIZE):
        value = graph.constant(node.input[0])
        if value is None:
            continue
        how = graph.scale_of(node)
        if (np.abs(how.scale) < SMALLEST_SCALE).any():
            raise StageError(f"the weight {node.input[0]!r} has a scale of zero; run the pass lift_zero_scales first")
        if not np.isfinite(value).all():
            raise StageError(f"the weight {node.input[0]!r} holds NaN or infinity; quantize the model again")
        folded = graph.add_constant(quantize(value, how), f"{node.input[0]}.{how.zero_point.dtype.name}")
        graph.redirect(node.output[0], folded)
        graph.remove(node)
        report.count("weights_folded")
    if not report.counts:
        report.remarks.append("no float weight stands behind a QuantizeLinear")
    return graph.finish(), report


def fold_bias(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Replace each INT32 constant behind DequantizeLinear by the float32 constant that it computes.

    TensorRT's parser takes INT8 there and nothing else.
    """
    graph, report = Graph(model), PassReport("fold_bias")
    for node in graph.of_type(DEQUANTIZE):
        value = graph.constant(node.input[0])
        if value is None or value.dtype != np.int32:
            continue
        folded = graph.add_constant(dequantize(value, bias_scale(graph, node)), f"{node.input[0]}.float")
        graph.redirect(node.output[0], folded)
        graph.remove(node)
        report.count("biases_folded")
    if not report.counts:
        report.remarks.append("no INT32 constant stands behind a DequantizeLinear")
    return graph.finish(), report


def lift_zero_scales(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Replace scales of zero, which TensorRT refuses and which make 0/0 of a weight, without changing a number.

    A channel whose weights are all zero has a scale of zero; any other scale gives the same zeros, so it gets 1. What
    was dequantized with a scale of zero was zero: its integers become its zero point. Only a *computed* tensor with a
    scale of zero cannot be kept exactly: that is a broken calibration, and an error.
    """
    graph, report = Graph(model), PassReport("lift_zero_scales")
    # Biases last: their scales follow from those of the weights.
    for node in sorted(graph.of_type(QUANTIZE, DEQUANTIZE), key=lambda n: _is_bias(graph, n)):
        how = graph.scale_of(node)
        zero = np.abs(how.scale) < SMALLEST_SCALE
        if not zero.any():
            continue
        value = graph.constant(node.input[0])
        source = graph.producer(node.input[0])
        if value is not None:
            mask = np.broadcast_to(how.along(zero, value.ndim), value.shape)
            neutral = how.along(how.zero_point, value.ndim) if node.op_type == DEQUANTIZE else np.float32(0)
            if node.op_type == QUANTIZE and np.abs(value[mask]).max(initial=0) > 0:
                report.remarks.append(f"{node.input[0]}: weights that a scale of zero had erased were set to zero")
            fixed = np.where(mask, neutral, value).astype(value.dtype)
            if not np.array_equal(fixed, value):
                graph.set_input(node, 0, graph.add_constant(fixed, f"{node.input[0]}.lifted"))
        elif not (source is not None and source.op_type == QUANTIZE and graph.constant(source.input[0]) is not None):
            raise StageError(
                f"{node.op_type} {node.name!r} quantizes an activation with a scale of zero: the calibration saw only "
                "zeros there; compress again with more, or more varied, images"
            )
        lifted = np.where(zero, _bias_scale(graph, node, how), how.scale).astype(np.float32)
        graph.set_input(node, 1, graph.add_constant(lifted, f"{node.input[1]}.lifted"))
        report.count("scales_lifted", int(zero.sum()))
        if (
            value is not None
            and value.dtype == np.int32
            and (lost := (np.abs(value.astype(np.int64)) >= 2**31 - 1).sum())
        ):
            report.remarks.append(
                f"{node.input[0]}: the converter lost the bias of {lost} channels whose weights are all zero"
            )
    return graph.finish(), report


def _is_bias(graph: Graph, node: onnx.NodeProto) -> bool:
    value = graph.constant(node.input[0])
    return value is not None and value.dtype == np.int32


def _bias_scale(graph: Graph, node: onnx.NodeProto, how: Scale) -> Array:
    """What to put in place of scales of zero: input scale x weight scale for a bias, as runtimes require; else 1."""
    if _is_bias(graph, node):
        for conv in graph.readers(node.output[0]):
            sources = [graph.producer(name) for name in conv.input[:2]]
            if conv.op_type == "Conv" and all(s is not None and s.op_type == DEQUANTIZE for s in sources):
                x, w = (graph.scale_of(s).scale for s in sources if s is not None)
                return np.broadcast_to(x * w, how.scale.shape)
    return np.ones(how.scale.shape, np.float32)


def bias_scale(graph: Graph, node: onnx.NodeProto) -> Scale:
    """The scale of a DequantizeLinear on INT32, where a missing zero point means zero."""
    how = graph.scale_of(node)
    if len(node.input) > 2 and node.input[2]:
        return how
    return Scale(scale=how.scale, zero_point=np.zeros(how.scale.shape, np.int32), axis=how.axis)
