"""ReLU on eight bits: no node of its own, and all 256 steps for what is never negative.

Symmetric quantizers spend half of their integers on negative numbers that ReLU's output does not have. With a zero
point of 0 the same range has twice the steps, and a QuantizeLinear that saturates at 0 is a ReLU itself: the
convolution's integer kernel clips, and nothing is left to compute.
"""

from __future__ import annotations

import numpy as np
import onnx

from stages.lowering.graph import DEQUANTIZE, QUANTIZE, Array, Graph, PassReport
from stages.lowering.qdq import remove_pair
from stages.lowering.weights import bias_scale, dequantize

SYMMETRIC = 127
"""Steps above zero that a symmetric quantizer has; it never uses -128."""
_PICK = ("MaxPool", "Resize", "GlobalAveragePool", "ReduceMean", "Transpose", "Reshape", DEQUANTIZE, QUANTIZE)
"""What gives nothing negative where its (first) input has nothing negative. ``Resize``: nearest or linear."""
_JOIN = ("Concat", "Add", "Mul")
"""Likewise, of all inputs."""
_GATES = ("Sigmoid", "HardSigmoid", "Softmax")


def unsigned_relu(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Quantize what comes of ReLU as uint8 with a zero point of 0, and drop each ReLU that quantizers alone read.

    What comes of it: its output, and what pools, sums, concatenations and attention make of such outputs only. A pair
    between a convolution and its ReLU goes, since it would round twice. Other activations stay as they are: without
    ReLU the pass does nothing.
    """
    graph, report = Graph(model), PassReport("unsigned_relu")
    for relu in graph.of_type("Relu"):
        _free(graph, relu, report)
    positive = _not_negative(graph)
    for quantizer in graph.of_type(QUANTIZE):
        how = graph.scale_of(quantizer)
        if quantizer.input[0] in positive and how.scale.size == 1 and _is_symmetric(how.zero_point):
            _move(graph, quantizer, np.float32(how.scale.reshape(()) * SYMMETRIC / 255), report)
    for conv in graph.of_type("Conv"):
        _rescale_bias(graph, conv, report)
    for relu in graph.of_type("Relu"):
        readers = graph.readers(relu.output[0])
        unsigned = [r for r in readers if r.op_type == QUANTIZE and _saturates_at_zero(graph, r)]
        if readers and len(unsigned) == len(readers) and relu.output[0] not in graph.outputs:
            graph.redirect(relu.output[0], relu.input[0])
            graph.remove(relu)
            report.count("relus_dropped")
        else:
            report.remarks.append(f"{relu.output[0]}: its ReLU stays, since not only quantizers read it")
    return graph.finish(), report


def _free(graph: Graph, relu: onnx.NodeProto, report: PassReport) -> None:
    """Take off the pair in front of a ReLU."""
    back = graph.producer(relu.input[0])
    quantizer = graph.producer(back.input[0]) if back is not None and back.op_type == DEQUANTIZE else None
    if back is None or quantizer is None or quantizer.op_type != QUANTIZE:
        return
    if len(graph.readers(back.output[0])) == 1 and len(graph.readers(quantizer.output[0])) == 1:
        remove_pair(graph, quantizer, report)


def _not_negative(graph: Graph) -> set[str]:
    """Tensors that come of ReLU and cannot be negative."""
    found: set[str] = set()
    gates: set[str] = set()  # between 0 and 1, and so of no sign that a product could take over
    ahead = True
    while ahead:  # the nodes need not be in order
        ahead = False
        for node in graph.of_type("Relu", *_PICK, *_JOIN, *_GATES):
            out = node.output[0]
            if out in found or out in gates:
                continue
            if node.op_type in _GATES or (node.op_type in (QUANTIZE, DEQUANTIZE) and node.input[0] in gates):
                gates.add(out)
            elif node.op_type == "Relu" or _stays(node, found, gates):
                found.add(out)
            else:
                continue
            ahead = True
    return found


def _stays(node: onnx.NodeProto, found: set[str], gates: set[str]) -> bool:
    if node.op_type in _PICK:
        return node.input[0] in found and not _is_cubic(node)
    allowed = found | gates if node.op_type == "Mul" else found
    return all(name in allowed for name in node.input) and any(name in found for name in node.input)


def _is_cubic(node: onnx.NodeProto) -> bool:
    return any(a.name == "mode" and a.s == b"cubic" for a in node.attribute)


def _is_symmetric(zero: Array) -> bool:
    if zero.dtype not in (np.int8, np.uint8):
        return False
    return int(zero.reshape(())) == (0 if zero.dtype == np.int8 else 128)


def _saturates_at_zero(graph: Graph, quantizer: onnx.NodeProto) -> bool:
    zero = graph.scale_of(quantizer).zero_point
    return bool(zero.dtype == np.uint8 and not zero.any())


def _move(graph: Graph, quantizer: onnx.NodeProto, scale: np.float32, report: PassReport) -> None:
    """The same range in uint8 from zero, unless somebody else than DequantizeLinear reads the integers."""
    readers = graph.readers(quantizer.output[0])
    if quantizer.output[0] in graph.outputs or any(r.op_type != DEQUANTIZE for r in readers):
        report.remarks.append(f"{quantizer.input[0]}: its integers are read by others, so they keep their sign")
        return
    tensor = quantizer.input[0]
    names = [
        graph.add_constant(np.asarray(value), f"{tensor}.unsigned.{name}")
        for value, name in ((scale, "scale"), (np.uint8(0), "zero_point"))
    ]
    for node in (quantizer, *readers):
        for i, name in enumerate(names, start=1):
            graph.set_input(node, i, name)
    graph.forget_type({quantizer.output[0]})
    report.count("ranges_unsigned")


def _rescale_bias(graph: Graph, conv: onnx.NodeProto, report: PassReport) -> None:
    """Count an INT32 bias in steps of input times weight again, where the input's step has changed: integer kernels add
    it to sums of such steps, and ONNX Runtime takes none of them for another bias."""
    if len(conv.input) < 3:
        return
    sources = [graph.producer(name) for name in conv.input[:3]]
    if any(source is None or source.op_type != DEQUANTIZE for source in sources):
        return
    x, weight, bias = (source for source in sources if source is not None)
    value, how = graph.constant(bias.input[0]), bias_scale(graph, bias)
    step = np.float32(graph.scale_of(x).scale) * graph.scale_of(weight).scale
    if value is None or value.dtype != np.int32 or np.allclose(step, how.scale, rtol=1e-5, atol=0):
        return
    bounds = np.iinfo(np.int32)
    steps = np.rint(dequantize(value, how).astype(np.float64) / step)
    if (np.abs(steps) > bounds.max).any():
        report.remarks.append(f"{conv.name}: its bias is too large to be counted in smaller steps")
    names = (
        graph.add_constant(np.clip(steps, bounds.min, bounds.max).astype(np.int32), f"{bias.input[0]}.rescaled"),
        graph.add_constant(np.broadcast_to(step, how.scale.shape).astype(np.float32), f"{bias.input[1]}.rescaled"),
        graph.add_constant(np.zeros(how.scale.shape, np.int32), f"{bias.input[0]}.rescaled_zero_point"),
    )
    # Of its own for this convolution: the bias may be shared with one whose input stays as it is.
    graph.set_input(conv, 2, graph.add_node(DEQUANTIZE, names, f"{conv.input[2]}.rescaled", axis=how.axis))
    report.count("biases_rescaled")
