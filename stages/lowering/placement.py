"""Where Q/DQ pairs stand: put them where a runtime needs them to fuse, take them away where they only cost accuracy.

These passes change numbers, by what eight bits more or less on a tensor change; the others do not.
"""

from __future__ import annotations

import numpy as np
import onnx

from stages.lowering.graph import DEQUANTIZE, QUANTIZE, Graph, PassReport
from stages.lowering.weights import dequantize

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
UNOBSERVED = np.float32(1 / 127)
"""The scale of a range of exactly 1: what Paddle's quantizers hold until they have seen data."""
SIGMOID_SCALE = np.float32(1 / 255)
"""With a zero point of 0, uint8 covers 0 to 1 exactly: no sigmoid moves by more than 1/510."""


def float_tail(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Leave the decoding of boxes and scores in float: everything behind the last convolutions.

    Paddle2ONNX quantizes each tensor it has a range for: anchor points, box corners and probabilities too. No
    convolution reads those, so nothing gets faster, while an anchor in eight bits is off by pixels. A convolution
    directly behind a Softmax is decoding as well: it sums the distribution over box edges (17 constants), and gets its
    weights back in float.
    """
    graph, report = Graph(model), PassReport("float_tail")
    for conv in graph.of_type(*WEIGHTED):
        if not _behind_softmax(graph, conv):
            continue
        _float_weights(graph, conv)
        for quantizer in [n for n in graph.readers(conv.output[0]) if n.op_type == QUANTIZE]:
            _remove_pair(graph, quantizer, report)
        source = graph.producer(conv.input[0])
        if source is not None and source.op_type == DEQUANTIZE:
            quantizer = graph.producer(source.input[0])
            if quantizer is not None and quantizer.op_type == QUANTIZE:
                _remove_pair(graph, quantizer, report)
        report.count("projections_in_float")
    needed = _feeds_a_convolution(graph)
    for quantizer in graph.of_type(QUANTIZE):
        source = graph.producer(quantizer.input[0])
        of_weights = source is not None and source.op_type in WEIGHTED
        if graph.constant(quantizer.input[0]) is None and not of_weights and quantizer.output[0] not in needed:
            _remove_pair(graph, quantizer, report)
    return graph.finish(), report


def drop_unobserved(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Remove the pairs whose range is exactly 1, the quantizers' initial value, and remark on each.

    Such a pair clamps its tensor to -1 .. 1 whatever its values are: nobody measured them. What it stood behind is
    left in float. (A tensor whose true range is 1 to the last bit loses a fusion by this, never accuracy.)
    """
    graph, report = Graph(model), PassReport("drop_unobserved")
    for quantizer in graph.of_type(QUANTIZE):
        how = graph.scale_of(quantizer)
        if graph.constant(quantizer.input[0]) is not None or how.scale.size != 1:
            continue
        if np.isclose(float(how.scale), float(UNOBSERVED), rtol=1e-6, atol=0):
            name = quantizer.input[0]
            if _remove_pair(graph, quantizer, report):
                report.remarks.append(f"{name}: its range was never observed; it was left in float")
    return graph.finish(), report


def quantize_silu(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Put a Q/DQ pair behind the Sigmoid of ``x * sigmoid(x)``, so that Sigmoid and Mul run on eight bits.

    Only where x comes from a DequantizeLinear and the product goes into a QuantizeLinear: elsewhere nothing would fuse.
    """
    graph, report = Graph(model), PassReport("quantize_silu")
    for sigmoid in graph.of_type("Sigmoid"):
        source = graph.producer(sigmoid.input[0])
        readers = graph.readers(sigmoid.output[0])
        if source is None or source.op_type != DEQUANTIZE or len(readers) != 1 or readers[0].op_type != "Mul":
            continue
        (product,) = readers
        followers = graph.readers(product.output[0])
        if sigmoid.input[0] not in product.input or [f.op_type for f in followers] != [QUANTIZE]:
            continue
        kind = graph.scale_of(followers[0]).zero_point.dtype
        if kind != np.uint8:  # int8 would have half the steps between 0 and 1
            continue
        insert_pair(graph, sigmoid.output[0], SIGMOID_SCALE, np.uint8(0))
        report.count("sigmoids_quantized")
    if not report.counts:
        report.remarks.append("no SiLU stands between uint8 activations")
    return graph.finish(), report


def insert_pair(graph: Graph, tensor: str, scale: np.float32, zero: np.generic) -> str:
    """Quantize ``tensor`` and dequantize it again for all who read it; gives the name of the dequantized tensor."""
    readers = graph.readers(tensor)
    names = [graph.add_constant(np.asarray(v), f"{tensor}.{n}") for v, n in ((scale, "scale"), (zero, "zero_point"))]
    quantized = graph.add_node(QUANTIZE, [tensor, *names], f"{tensor}.quantized")
    back = graph.add_node(DEQUANTIZE, [quantized, *names], f"{tensor}.dequantized")
    for reader in readers:
        for i, name in enumerate(reader.input):
            if name == tensor:
                graph.set_input(reader, i, back)
    return back


def _remove_pair(graph: Graph, quantizer: onnx.NodeProto, report: PassReport) -> bool:
    """Take a QuantizeLinear and its DequantizeLinear out, unless somebody else reads the integers."""
    readers = graph.readers(quantizer.output[0])
    if any(r.op_type != DEQUANTIZE or r.output[0] in graph.outputs for r in readers):
        report.remarks.append(f"{quantizer.input[0]}: its integers are read by others, so its Q/DQ pair was kept")
        return False
    for dequantizer in readers:
        graph.redirect(dequantizer.output[0], quantizer.input[0])
        graph.remove(dequantizer)
    graph.remove(quantizer)
    report.count("pairs_removed")
    return True


_TRANSPARENT = (QUANTIZE, DEQUANTIZE, "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity")


def _behind_softmax(graph: Graph, conv: onnx.NodeProto) -> bool:
    node = graph.producer(conv.input[0])
    while node is not None and node.op_type in _TRANSPARENT:
        node = graph.producer(node.input[0])
    return node is not None and node.op_type == "Softmax"


def _float_weights(graph: Graph, conv: onnx.NodeProto) -> None:
    """Give ``conv`` its weights as a float constant in place of DequantizeLinear (and QuantizeLinear) of one."""
    for i in range(1, len(conv.input)):
        dequantizer = graph.producer(conv.input[i]) if conv.input[i] else None
        if dequantizer is None or dequantizer.op_type != DEQUANTIZE:
            continue
        quantizer = graph.producer(dequantizer.input[0])
        value = graph.constant(dequantizer.input[0])
        if value is not None:
            value = dequantize(value, graph.scale_of(dequantizer))
        elif quantizer is not None and quantizer.op_type == QUANTIZE:
            value = graph.constant(quantizer.input[0])
        if value is not None:
            graph.set_input(conv, i, graph.add_constant(value, f"{conv.input[i]}.float"))


def _feeds_a_convolution(graph: Graph) -> set[str]:
    """All tensors from which a quantized convolution (or matrix product) can be reached."""
    reached: set[str] = set()
    stack = [name for conv in graph.of_type(*WEIGHTED) if not _behind_softmax(graph, conv) for name in conv.input]
    while stack:
        tensor = stack.pop()
        if tensor in reached:
            continue
        reached.add(tensor)
        node = graph.producer(tensor)
        if node is not None:
            stack.extend(node.input)
    return reached
