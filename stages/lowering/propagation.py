"""Carry quantization across the nodes that need no range of their own, so that they run on eight bits too.

Paddle2ONNX writes Q/DQ where the training had a quantizer: before convolutions. In between, a Concat, a pool or a
branch reads the float tensor, and everything around it falls back to float with it.
"""

from __future__ import annotations

import onnx

from stages.lowering.graph import DEQUANTIZE, QUANTIZE, Graph, PassReport, Scale
from stages.lowering.qdq import insert_pair

_BRANCHES = ("Concat", "Add", "Mul", "MaxPool", "Resize", "GlobalAveragePool", "Sigmoid")


def share_quantized(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Where one branch of a tensor is quantized, let its other branches read the quantized values too.

    A node fuses only if nobody reads its result in float. Values move by half a step of the branch's scale at most.
    """
    graph, report = Graph(model), PassReport("share_quantized")
    for quantizer in graph.of_type(QUANTIZE):
        tensor = quantizer.input[0]
        others = [n for n in graph.readers(tensor) if n is not quantizer]
        back = [n for n in graph.readers(quantizer.output[0]) if n.op_type == DEQUANTIZE]
        computed = graph.producer(tensor) is not None and graph.constant(tensor) is None
        if not computed or not others or not back or any(n.op_type not in _BRANCHES for n in others):
            continue
        graph.redirect(tensor, back[0].output[0], keep=[quantizer])
        report.count("branches_shared", len(others))
    return graph.finish(), report


def quantize_concat(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Quantize each float input of a Concat with the scale of the Concat's own quantizer.

    Rounding before putting together gives the numbers that rounding after it gives. Through MaxPool and
    nearest-neighbour Resize, which pick values, the pair moves up to where the values are computed.
    """
    graph, report = Graph(model), PassReport("quantize_concat")
    for concat in graph.of_type("Concat"):
        readers = graph.readers(concat.output[0])
        if len(readers) != 1 or readers[0].op_type != QUANTIZE:
            continue
        how = graph.scale_of(readers[0])
        if how.scale.size != 1:
            continue
        for tensor in dict.fromkeys(concat.input):
            if graph.constant(tensor) is None and _quantize_origin(graph, tensor, concat, how):
                report.count("inputs_quantized")
    return graph.finish(), report


def keep_quantized(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Put a Q/DQ pair with the input's own scale behind MaxPool and nearest-neighbour Resize.

    They pick values and compute none, so the pair changes nothing; without it they run in float, and so does the
    Concat behind them.
    """
    graph, report = Graph(model), PassReport("keep_quantized")
    for node in graph.of_type("MaxPool", "Resize"):
        source = graph.producer(node.input[0])
        if source is None or source.op_type != DEQUANTIZE or len(node.output) != 1:
            continue
        how = graph.scale_of(source)
        readers = graph.readers(node.output[0])
        if not _picks(node) or how.scale.size != 1 or not readers or any(r.op_type == QUANTIZE for r in readers):
            continue
        insert_pair(graph, node.output[0], how.scale, how.zero_point)
        report.count("pairs_added")
    return graph.finish(), report


def _picks(node: onnx.NodeProto) -> bool:
    """True if the node's outputs are among its inputs' values."""
    mode = next((a.s for a in node.attribute if a.name == "mode"), b"nearest")
    return node.op_type == "MaxPool" or (node.op_type == "Resize" and mode == b"nearest")


def _quantize_origin(graph: Graph, tensor: str, reader: onnx.NodeProto, how: Scale) -> bool:
    """Put a pair behind what computes ``tensor`` for ``reader``; false if it is quantized already."""
    node = graph.producer(tensor)
    readers = [reader]
    while node is not None and _picks(node) and len(node.output) == 1:
        if any(r is not reader and not _picks(r) for r in graph.readers(node.output[0])):
            break  # somebody else reads the picked values in float
        readers, tensor, node = [node], node.input[0], graph.producer(node.input[0])
    if node is None or node.op_type == DEQUANTIZE:
        return False
    # Siblings that pick from the same tensor for the same Concat share the pair.
    readers += [r for r in graph.readers(tensor) if r is not readers[0] and _leads_to(graph, r, reader)]
    insert_pair(graph, tensor, how.scale, how.zero_point, readers)
    return True


def _leads_to(graph: Graph, node: onnx.NodeProto, concat: onnx.NodeProto) -> bool:
    if node is concat:
        return True
    return _picks(node) and all(_leads_to(graph, r, concat) for r in graph.readers(node.output[0]))
