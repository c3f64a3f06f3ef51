"""Where Q/DQ pairs stand: put them where a runtime needs them to fuse, take them away where they only cost accuracy.

These passes change numbers, by what eight bits more or less on a tensor change; the others do not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from stages.lowering.graph import DEQUANTIZE, QUANTIZE, Array, Graph, PassReport
from stages.lowering.qdq import insert_pair, remove_pair
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
            remove_pair(graph, quantizer, report)
        source = graph.producer(conv.input[0])
        if source is not None and source.op_type == DEQUANTIZE:
            quantizer = graph.producer(source.input[0])
            if quantizer is not None and quantizer.op_type == QUANTIZE:
                remove_pair(graph, quantizer, report)
        report.count("projections_in_float")
    for quantizer, behind_convolution in behind_the_last(graph):
        if graph.constant(quantizer.input[0]) is None and not behind_convolution:
            remove_pair(graph, quantizer, report)
    return graph.finish(), report


def float_outputs(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Give what the last convolutions find in float: class logits and the distribution over box edges.

    Eight bits of a class's logits are a few dozen different scores between 0 and 1, each of which many boxes share. A
    runtime whose integer convolutions can put out floats rounds nothing there and does the same work; ONNX Runtime's
    on a CPU cannot (without a quantizer behind it a convolution is computed in float).
    """
    graph, report = Graph(model), PassReport("float_outputs")
    for quantizer, behind_convolution in behind_the_last(graph):
        if behind_convolution:
            remove_pair(graph, quantizer, report)
    return graph.finish(), report


def drop_unobserved(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Remove the pairs whose range is exactly 1, the quantizers' initial value, and remark on each.

    Such a pair clamps its tensor to -1 .. 1 whatever its values are: nobody measured them. What it stood behind is
    left in float. Kept are pairs on tensors that cannot leave -1 .. 1: sigmoids, and convolutions whose weights and
    biases are too small.
    """
    graph, report = Graph(model), PassReport("drop_unobserved")
    for quantizer in graph.of_type(QUANTIZE):
        how = graph.scale_of(quantizer)
        if graph.constant(quantizer.input[0]) is not None or how.scale.size != 1:
            continue
        if np.isclose(float(how.scale), float(UNOBSERVED), rtol=1e-6, atol=0) and not _within_one(graph, quantizer):
            name = quantizer.input[0]
            if remove_pair(graph, quantizer, report):
                report.remarks.append(f"{name}: its range was never observed; it was left in float")
    return graph.finish(), report


def quantize_sigmoid(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Put a Q/DQ pair behind each Sigmoid that gates something, so that Sigmoid and Mul run on eight bits.

    That is SiLU, ``x * sigmoid(x)``, and attention, ``feature * sigmoid(weight)``. Only where both factors come from
    uint8 and the product goes into a QuantizeLinear: elsewhere nothing would fuse.
    """
    graph, report = Graph(model), PassReport("quantize_sigmoid")
    for sigmoid in graph.of_type("Sigmoid"):
        readers = graph.readers(sigmoid.output[0])
        if not _is_uint8(graph, sigmoid.input[0]) or not readers:
            continue
        if all(_gates(graph, reader, sigmoid.output[0]) for reader in readers):
            insert_pair(graph, sigmoid.output[0], SIGMOID_SCALE, np.uint8(0))
            report.count("sigmoids_quantized")
    if not report.counts:
        report.remarks.append("no Sigmoid stands between uint8 activations")
    return graph.finish(), report


def free_silu(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Take off the Q/DQ pair between a convolution and its SiLU, ReLU, leaky ReLU or hard swish: Conv, activation and
    QuantizeLinear then fuse to one kernel.

    For runtimes that apply an activation to the sums before they round them (OpenVINO, TensorRT). The training saw no
    rounding there either, so this loses nothing.
    """
    graph, report = Graph(model), PassReport("free_silu")
    for quantizer in graph.of_type(QUANTIZE):
        source = graph.producer(quantizer.input[0])
        back = graph.readers(quantizer.output[0])
        if source is None or source.op_type != "Conv" or len(graph.readers(source.output[0])) != 1 or len(back) != 1:
            continue
        readers = graph.readers(back[0].output[0])
        if _is_gated(readers) or [r.op_type for r in readers] in (["Relu"], ["LeakyRelu"], ["HardSwish"]):
            remove_pair(graph, quantizer, report)
    if not report.counts:
        report.remarks.append("no Q/DQ pair stands between a convolution and its activation")
    return graph.finish(), report


def _is_gated(readers: list[onnx.NodeProto]) -> bool:
    """True if the two readers of a tensor make x * sigmoid(x) of it, or hard swish likewise."""
    gates = [r for r in readers if r.op_type in ("Sigmoid", "HardSigmoid")]
    products = [r for r in readers if r.op_type == "Mul"]
    return len(readers) == 2 and len(gates) == len(products) == 1 and gates[0].output[0] in products[0].input


def _is_uint8(graph: Graph, tensor: str) -> bool:
    node = graph.producer(tensor)
    return node is not None and node.op_type == DEQUANTIZE and graph.scale_of(node).zero_point.dtype == np.uint8


def _gates(graph: Graph, product: onnx.NodeProto, gate: str) -> bool:
    """True if ``product`` multiplies ``gate`` with a dequantized tensor, and only QuantizeLinear reads the result."""
    if product.op_type != "Mul":
        return False
    others = [name for name in product.input if name != gate]
    followers = graph.readers(product.output[0])
    return len(others) == 1 and _is_uint8(graph, others[0]) and [f.op_type for f in followers] == [QUANTIZE]


def _within_one(graph: Graph, quantizer: onnx.NodeProto) -> bool:
    """True if what the quantizer reads cannot leave -1 .. 1 (by more than half a step).

    For a convolution: |bias| + max |input| * sum |weight| per output channel, the input's maximum being what its own
    Q/DQ pair lets through.
    """
    node = graph.producer(quantizer.input[0])
    if node is None:
        return False
    if node.op_type in ("Sigmoid", "HardSigmoid", "Softmax", "Tanh"):
        return True
    if node.op_type != "Conv":
        return False
    source = graph.producer(node.input[0])
    values = [constant_behind(graph, name) for name in node.input[1:] if name]
    if source is None or source.op_type != DEQUANTIZE or any(v is None for v in values):
        return False
    weight, bias = values[0], values[1] if len(values) > 1 else np.zeros(1, np.float32)
    assert weight is not None and bias is not None
    largest = float(graph.scale_of(source).scale.max()) * 255
    bound = np.abs(bias) + largest * np.abs(weight).reshape(weight.shape[0], -1).sum(axis=1)
    return bool(bound.max() <= 1 + UNOBSERVED / 2)


_TRANSPARENT = (QUANTIZE, DEQUANTIZE, "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity")


def _behind_softmax(graph: Graph, conv: onnx.NodeProto) -> bool:
    node = graph.producer(conv.input[0])
    while node is not None and node.op_type in _TRANSPARENT:
        node = graph.producer(node.input[0])
    return node is not None and node.op_type == "Softmax"


def constant_behind(graph: Graph, tensor: str) -> Array | None:
    """The float constant that ``tensor`` is: itself, or behind DequantizeLinear (and QuantizeLinear) of one."""
    value = graph.constant(tensor)
    dequantizer = graph.producer(tensor)
    if value is not None or dequantizer is None or dequantizer.op_type != DEQUANTIZE:
        return value
    value = graph.constant(dequantizer.input[0])
    if value is not None:
        return dequantize(value, graph.scale_of(dequantizer))
    quantizer = graph.producer(dequantizer.input[0])
    return graph.constant(quantizer.input[0]) if quantizer is not None and quantizer.op_type == QUANTIZE else None


def _float_weights(graph: Graph, conv: onnx.NodeProto) -> None:
    """Give ``conv`` its weights as a float constant in place of DequantizeLinear (and QuantizeLinear) of one."""
    for i in range(1, len(conv.input)):
        value = constant_behind(graph, conv.input[i]) if conv.input[i] else None
        if value is not None:
            graph.set_input(conv, i, graph.add_constant(value, f"{conv.input[i]}.float"))


def behind_the_last(graph: Graph) -> Iterator[tuple[onnx.NodeProto, bool]]:
    """The quantizers that no quantized convolution can be reached from, and whether each rounds what one puts out."""
    needed = _feeds_a_convolution(graph)
    for quantizer in graph.of_type(QUANTIZE):
        if quantizer.output[0] not in needed:
            source = graph.producer(quantizer.input[0])
            yield quantizer, source is not None and source.op_type in WEIGHTED


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
