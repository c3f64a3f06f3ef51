"""Drop what computes nothing, because it stands between the patterns that runtimes fuse."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from stages.lowering.graph import DEQUANTIZE, QUANTIZE, Graph, PassReport


def drop_multiply_by_one(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Remove ``x * 1`` where the constant has one element and so cannot change the shape. Outputs stay the same."""
    graph, report = Graph(model), PassReport("drop_multiply_by_one")
    for node in graph.of_type("Mul"):
        for i in (0, 1):
            value = graph.constant(node.input[i])
            other = node.input[1 - i]
            if value is None or value.size != 1 or value.ndim > 1 or float(value.reshape(())) != 1.0:
                continue
            if node.output[0] in graph.outputs:
                report.remarks.append(f"{node.output[0]}: x*1 makes a graph output and was kept")
                break
            graph.redirect(node.output[0], other)
            graph.remove(node)
            report.count("multiplies_dropped")
            break
    return graph.finish(), report


def mean_to_pool(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Write the mean over height and width as GlobalAveragePool, which runtimes have an eight-bit kernel for.

    The same number up to the order of summation in float32.
    """
    graph, report = Graph(model), PassReport("mean_to_pool")
    for node in graph.of_type("ReduceMean"):
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        axes = attributes.get("axes")
        if axes is None and len(node.input) > 1 and (given := graph.constant(node.input[1])) is not None:
            axes = given.reshape(-1).tolist()
        rank = graph.rank(node.input[0])
        if axes is None or rank != 4 or attributes.get("keepdims", 1) != 1:
            continue
        if sorted(axis % rank for axis in axes) != [2, 3] or node.output[0] in graph.outputs:
            continue
        pooled = graph.add_node("GlobalAveragePool", [node.input[0]], f"{node.output[0]}.pooled")
        graph.redirect(node.output[0], pooled)
        graph.remove(node)
        report.count("means_replaced")
    return graph.finish(), report


def drop_duplicate_qdq(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Remove QuantizeLinear that repeats another one. Outputs stay the same.

    Two cases: several on one tensor with one scale (one is kept), and one behind DequantizeLinear with the scale and
    zero point of that pair (quantizing again gives the integers that are there already).
    """
    graph, report = Graph(model), PassReport("drop_duplicate_qdq")
    seen: dict[tuple[str, bytes, bytes, str, int], str] = {}
    for node in graph.of_type(QUANTIZE):
        how = graph.scale_of(node)
        source = graph.producer(node.input[0])
        if (
            source is not None
            and source.op_type == DEQUANTIZE
            and graph.scale_of(source).same_as(how)
            and _same_type(graph, source, how.zero_point.dtype)
        ):
            graph.redirect(node.output[0], source.input[0])
            graph.remove(node)
            report.count("repeated_pairs_dropped")
            continue
        axis = how.axis if how.scale.size > 1 else 0
        key = (node.input[0], how.scale.tobytes(), how.zero_point.tobytes(), how.zero_point.dtype.name, axis)
        if key in seen and node.output[0] not in graph.outputs:
            graph.redirect(node.output[0], seen[key])
            graph.remove(node)
            report.count("twins_merged")
        else:
            seen.setdefault(key, node.output[0])
    _merge_dequantizers(graph, report)
    return graph.finish(), report


def _same_type(graph: Graph, dequantizer: onnx.NodeProto, dtype: np.dtype[np.generic]) -> bool:
    """True if what the DequantizeLinear reads has ``dtype`` (it is a quantizer's output or a constant)."""
    value = graph.constant(dequantizer.input[0])
    if value is not None:
        return value.dtype == dtype
    return graph.scale_of(dequantizer).zero_point.dtype == dtype


def _merge_dequantizers(graph: Graph, report: PassReport) -> None:
    """One DequantizeLinear per quantized activation and scale; runtimes split them again where they want to."""
    seen: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.of_type(DEQUANTIZE):
        twins = seen.setdefault(node.input[0], [])
        how = graph.scale_of(node)
        twin = next((t for t in twins if graph.scale_of(t).same_as(how)), None)
        if twin is None or node.output[0] in graph.outputs:
            twins.append(node)
            continue
        graph.redirect(node.output[0], twin.output[0])
        graph.remove(node)
        report.count("dequantizers_merged")
