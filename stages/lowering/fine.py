"""Finer steps for what the last convolutions put out, where a runtime can only put out eight bits."""

from __future__ import annotations

import numpy as np
import onnx

from stages.lowering.graph import DEQUANTIZE, Array, Graph, PassReport, Scale
from stages.lowering.placement import behind_the_last, constant_behind

LANES = 16
"""Output channels that an integer kernel computes at once: with fewer it computes as long."""
_LEAST_OPSET = 13
"""From which on Split takes its sizes as an input."""
_BIAS_STEP = 0.25
"""Share of an output's step that the step of its bias is at most: a window is off by half of that."""


def fine_outputs(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Give what the last convolutions find in several windows of eight bits, where these cost nothing.

    Eight bits of a class's logits are a few dozen different scores, each of which many boxes share. ONNX Runtime's
    integer convolutions on a CPU put out nothing else. But with few classes they compute channels that nobody asked
    for: K times the channels, for K <= 16 / channels, take as long. So the filters are repeated K times, with a step of
    S / K instead of S, and biases that shift the k-th copy to the k-th part of the range. What is outside of a part
    saturates at its ends, so the sum over the parts is the value, rounded to S / K, and clipped where it was before.
    """
    graph, report = Graph(model), PassReport("fine_outputs")
    if graph.opset < _LEAST_OPSET:
        report.remarks.append(f"the graph has opset {graph.opset}; finer outputs need {_LEAST_OPSET}")
        return graph.finish(), report
    for quantizer, behind_convolution in behind_the_last(graph):
        conv = graph.producer(quantizer.input[0])
        if behind_convolution and conv is not None and conv.op_type == "Conv":
            _divide(graph, conv, quantizer, report)
    return graph.finish(), report


def _divide(graph: Graph, conv: onnx.NodeProto, quantizer: onnx.NodeProto, report: PassReport) -> None:
    """Put the windows in the place of one convolution's output, if it and what reads it are plain."""
    weights, pixels = graph.producer(conv.input[1]), graph.producer(conv.input[0])
    readers = graph.readers(quantizer.output[0])
    how = graph.scale_of(quantizer)
    if weights is None or pixels is None or not weights.op_type == pixels.op_type == DEQUANTIZE or how.scale.size != 1:
        return
    weight, steps = graph.constant(weights.input[0]), graph.scale_of(weights)
    if weight is None or weight.ndim != 4 or graph.outputs & {quantizer.output[0], *(r.output[0] for r in readers)}:
        return
    if not readers or any(r.op_type != DEQUANTIZE for r in readers) or len(graph.readers(conv.output[0])) != 1:
        return
    if any(a.name == "group" and a.i != 1 for a in conv.attribute):
        return
    channels = weight.shape[0]
    room = -(-channels // LANES) * LANES // channels
    if room < 2:
        return
    per_channel = np.ones(channels) * (graph.scale_of(pixels).scale.astype(np.float64) * steps.scale.reshape(-1))
    bias = _bias(graph, conv, channels)
    if bias is None:
        report.remarks.append(f"{conv.output[0]}: its bias is computed; its steps stay as they are")
        return
    coarse = float(how.scale.reshape(()))
    parts = int(max(1, min(room, _BIAS_STEP * coarse / per_channel.max())))
    step = coarse / parts
    stored = np.round(np.concatenate([(bias + _shift(how, step, part)) / per_channel for part in range(parts)]))
    if parts == 1 or np.abs(stored).max() > np.iinfo(np.int32).max:
        report.remarks.append(f"{conv.output[0]}: its biases cannot be shifted as finely; its steps stay as they are")
        return
    name = conv.output[0]
    _repeat_weights(graph, conv, weights, parts)
    scale = np.tile(per_channel, parts).astype(np.float32)
    values = graph.add_constant(stored.astype(np.int32), f"{name}.shifted_biases")
    zeros = graph.add_constant(np.zeros(scale.size, np.int32), f"{name}.shifted_biases_zero_point")
    steps_of = graph.add_constant(scale, f"{name}.shifted_biases_scale")
    shifted = graph.add_node(DEQUANTIZE, [values, steps_of, zeros], f"{name}.biases", axis=0)
    if len(conv.input) > 2:
        graph.set_input(conv, 2, shifted)
    else:
        graph.append_input(conv, shifted)
    finer = graph.add_constant(np.full(how.scale.shape, step, np.float32), f"{name}.step")
    graph.set_input(quantizer, 1, finer)
    windows = graph.add_node(DEQUANTIZE, [quantizer.output[0], finer, *quantizer.input[2:]], f"{name}.windows")
    whole = graph.add_node("Sum", graph.add_split(windows, [channels] * parts, 1, f"{name}.window"), f"{name}.whole")
    for reader in readers:
        graph.redirect(reader.output[0], whole)
        graph.remove(reader)
    graph.forget_type({name, quantizer.output[0]})
    report.count("outputs_divided")


def _shift(how: Scale, step: float, part: int) -> float:
    """What brings the part-th window of the range to where the quantizer, with the finer ``step``, begins."""
    info = np.iinfo(how.zero_point.dtype)
    below = info.min - int(how.zero_point.reshape(()))
    lowest = below * float(how.scale.reshape(()))
    width = (info.max - info.min) * step
    return below * step - lowest - part * width


def _repeat_weights(graph: Graph, conv: onnx.NodeProto, weights: onnx.NodeProto, parts: int) -> None:
    how, weight = graph.scale_of(weights), graph.constant(weights.input[0])
    assert weight is not None
    tiles: list[Array] = [np.concatenate([weight] * parts), how.scale, how.zero_point]
    if how.scale.size > 1:
        tiles[1:] = [np.tile(how.scale.reshape(-1), parts), np.tile(how.zero_point.reshape(-1), parts)]
    names = [graph.add_constant(value, f"{weights.input[0]}.repeated") for value in tiles]
    graph.set_input(conv, 1, graph.add_node(DEQUANTIZE, names, f"{conv.output[0]}.weights", axis=how.axis))


def _bias(graph: Graph, conv: onnx.NodeProto, channels: int) -> Array | None:
    """The real biases [channels], float64; None if they are computed."""
    if len(conv.input) < 3 or not conv.input[2]:
        return np.zeros(channels)
    value = constant_behind(graph, conv.input[2])
    return None if value is None else value.astype(np.float64)
