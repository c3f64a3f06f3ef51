"""Carrying quantization across Concat, pools and branches: which pairs come in, and what they do to the numbers."""

from __future__ import annotations

import numpy as np
import onnx

from stages.lowering.graph import Graph
from stages.lowering.passes import lower
from stages.lowering.propagation import keep_quantized, quantize_concat, share_quantized
from tests.stages.qdq import Build, count, run


def branches() -> onnx.ModelProto:
    """As in PP-YOLOE's neck and SPP: computed tensors that a Concat reads in float, some through pools and a Resize."""
    b = Build(("x", [1, 4, 8, 8]), ("small", [1, 4, 4, 4]))
    spp = b.node("Mul", b.qdq("x", 0.05), b.qdq("x", 0.05))
    pools = [b.node("MaxPool", spp, kernel_shape=[k, k], pads=[k // 2] * 4, strides=[1, 1]) for k in (3, 5)]
    up = b.node("Resize", b.node("Abs", "small"), "", b.const([1.0, 1.0, 2.0, 2.0]), mode="nearest")
    b.node("Identity", b.qdq(b.node("Concat", spp, *pools, up, b.qdq("x", 0.05), axis=1), 0.04), out="y")
    return b.model(y=[1, 20, 8, 8])


def test_keep_quantized_changes_no_number_and_leaves_interpolation_alone() -> None:
    b = Build(("x", [1, 4, 8, 8]))
    x = b.qdq("x", 0.05)
    pooled = b.node("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
    wide = b.node("Resize", pooled, "", b.const([1.0, 1.0, 2.0, 2.0]), mode="nearest")
    smooth = b.node("Resize", x, "", b.const([1.0, 1.0, 2.0, 2.0]), mode="linear")
    b.node("Concat", wide, smooth, out="y", axis=1)
    model = b.model(y=[1, 8, 16, 16])
    after, report = keep_quantized(model)
    assert report.counts == {"pairs_added": 2}
    assert np.array_equal(run(model)[0], run(after)[0])


def test_quantize_concat_changes_no_number() -> None:
    model = branches()
    after, report = quantize_concat(model)
    # The product (with its two pools, one pair for the three) and what is resized; the last input has a pair already.
    assert report.counts == {"inputs_quantized": 2}
    assert np.array_equal(run(model)[0], run(after)[0])
    graph = Graph(after)
    for kind in ("Mul", "Abs"):
        (node,) = graph.of_type(kind)
        assert [r.op_type for r in graph.readers(node.output[0])] == ["QuantizeLinear"]


def test_with_keep_quantized_every_input_of_the_concat_is_dequantized() -> None:
    after, _ = lower(branches(), ["quantize_concat", "keep_quantized"])
    graph = Graph(after)
    (concat,) = graph.of_type("Concat")
    sources = [graph.producer(name) for name in concat.input]
    assert [s.op_type if s else "" for s in sources] == ["DequantizeLinear"] * 5
    assert np.array_equal(run(branches())[0], run(after)[0])


def test_a_concat_that_is_read_in_float_is_left_alone() -> None:
    b = Build(("x", [1, 4]))
    b.node("Concat", b.node("Abs", "x"), b.qdq("x", 0.05), out="y", axis=1)
    _, report = quantize_concat(b.model(y=[1, 8]))
    assert report.counts == {}


def test_share_quantized_moves_values_by_half_a_step() -> None:
    b = Build(("x", [1, 4, 6, 6]))
    product = b.node("Mul", b.qdq("x", 0.05), b.qdq("x", 0.05))
    pooled = b.node("GlobalAveragePool", product)
    b.node("Sub", b.qdq(product, 0.06), pooled, out="y")
    model = b.model(y=[1, 4, 6, 6])
    after, report = share_quantized(model)
    assert report.counts == {"branches_shared": 1}
    graph = Graph(after)
    (mul,) = graph.of_type("Mul")
    assert [r.op_type for r in graph.readers(mul.output[0])] == ["QuantizeLinear"]
    assert np.abs(run(model)[0] - run(after)[0]).max() <= 0.03 + 1e-6


def test_share_quantized_leaves_a_branch_alone_that_needs_float() -> None:
    b = Build(("x", [1, 4]))
    y = b.node("Abs", "x")
    b.node("Add", b.qdq(y, 0.06), b.node("Softmax", y), out="y")
    model = b.model(y=[1, 4])
    after, report = share_quantized(model)
    assert report.counts == {} and count(after, "QuantizeLinear") == 1
