"""The passes that move Q/DQ pairs: which pairs, and by how much the outputs may change."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from stages.lowering.graph import Graph
from stages.lowering.passes import lower
from stages.lowering.placement import drop_unobserved, float_outputs, float_tail, free_silu, quantize_sigmoid
from tests.stages.qdq import Array, Build, conv_silu, count, run, two_convs
from tests.stages.recipes import RECIPES

BINS = 17


def head(anchor_scale: float = 79.5 / 127) -> onnx.ModelProto:
    """Convolutions, then decoding as PP-YOLOE does it: Softmax over 17 bins, projection, anchors, all quantized."""
    rng = np.random.default_rng(0)
    b = Build(("image", [1, 3, 8, 8]))
    x = conv_silu(b, b.qdq("image", 0.03), (3, 4), rng)
    weight = rng.standard_normal((4 * BINS, 4, 1, 1)).astype(np.float32)
    w = b.qdq(b.const(weight), np.abs(weight).max(axis=(1, 2, 3)) / 127, axis=0)
    bins = b.qdq(b.node("Conv", x, w, kernel_shape=[1, 1]), 0.05)
    folded = b.node("Reshape", bins, b.const([1, 4, BINS, 64], np.int64))
    soft = b.qdq(b.node("Softmax", b.node("Transpose", folded, perm=[0, 2, 3, 1]), axis=1), 1 / 120)
    steps = np.arange(BINS, dtype=np.float32).reshape(1, BINS, 1, 1)
    projection = b.qdq(b.const(steps), np.float32([16 / 127]), axis=0)
    distance = b.qdq(b.node("Conv", soft, projection, kernel_shape=[1, 1]), 16 / 127)
    anchors = b.qdq(b.node("Abs", b.const(np.linspace(0.5, 79.5, 64).reshape(1, 1, 64, 1))), anchor_scale)
    b.node("Add", distance, anchors, out="boxes")
    return b.model(boxes=[1, 1, 64, 4])


def exact() -> Array:
    """The head's boxes with the decoding in float, computed here."""
    model = head()
    graph = Graph(model)
    conv = list(graph.of_type("Conv"))[1]
    tail = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 4 * BINS, 8, 8])
    name = graph.readers(graph.readers(conv.output[0])[0].output[0])[0].output[0]
    for node in model.graph.node:
        node.output[:] = ["logits" if o == name else o for o in node.output]
        node.input[:] = ["logits" if i == name else i for i in node.input]
    model.graph.output.append(tail)
    logits = run(model)[1].reshape(4, BINS, 64)
    soft = np.exp(logits - logits.max(axis=1, keepdims=True))
    soft /= soft.sum(axis=1, keepdims=True)
    distance = np.einsum("cbn,b->nc", soft, np.arange(BINS))
    return (distance + np.linspace(0.5, 79.5, 64)[:, None])[None, None]


def test_float_tail_leaves_decoding_in_float() -> None:
    freed, report = float_tail(head())
    assert report.counts == {"projections_in_float": 1, "pairs_removed": 3}
    graph = Graph(freed)
    convs = list(graph.of_type("Conv"))
    assert graph.constant(convs[2].input[1]) is not None  # the projection's weights
    for conv in convs[:2]:  # the others still stand between Q/DQ
        producer = graph.producer(conv.input[0])
        assert producer is not None and producer.op_type == "DequantizeLinear"
        assert [r.op_type for r in graph.readers(conv.output[0])] == ["QuantizeLinear"]
    reference = exact()
    assert np.abs(run(freed)[0] - reference).max() < 1e-3
    assert np.abs(run(head())[0] - reference).max() > 0.2  # what eight bits had cost


def test_float_tail_keeps_what_a_convolution_reads() -> None:
    model = two_convs()
    after, report = float_tail(model)
    # Only the pair behind the last SiLU, which feeds nothing but the output, is gone.
    assert report.counts == {"pairs_removed": 1}
    assert count(model, "QuantizeLinear") - count(after, "QuantizeLinear") == 1
    assert np.abs(run(model)[0] - run(after)[0]).max() <= 0.025 + 1e-6  # half a step of 0.05


def test_float_outputs_rounds_nothing_behind_the_last_convolutions() -> None:
    tail, _ = float_tail(head())
    freed, report = float_outputs(tail)
    assert report.counts == {"pairs_removed": 1}
    graph = Graph(freed)
    first, last, _ = graph.of_type("Conv")
    assert [r.op_type for r in graph.readers(last.output[0])] == ["Reshape"]
    for conv in (first, last):  # they are integer convolutions still: what they read is quantized
        assert {getattr(graph.producer(name), "op_type", "") for name in conv.input[:2]} == {"DequantizeLinear"}
    fine, coarse = (np.unique(run(model)[0]).size for model in (freed, tail))
    assert fine >= coarse and np.abs(run(freed)[0] - run(tail)[0]).max() < 0.5


def test_float_outputs_keeps_what_a_convolution_reads() -> None:
    model, _ = float_tail(two_convs())
    after, report = float_outputs(model)
    assert report.counts == {"pairs_removed": 1}
    first, last = Graph(after).of_type("Conv")
    assert "QuantizeLinear" in [r.op_type for r in Graph(after).readers(first.output[0])]
    assert "QuantizeLinear" not in [r.op_type for r in Graph(after).readers(last.output[0])]


def test_drop_unobserved_frees_what_was_clamped_and_says_which() -> None:
    model = head(anchor_scale=1 / 127)
    assert run(model)[0].max() < 18  # anchors clamped to 1
    freed, report = drop_unobserved(model)
    assert report.counts == {"pairs_removed": 1}
    assert len(report.remarks) == 1 and "never observed" in report.remarks[0]
    assert np.abs(run(freed)[0] - exact()).max() < 1.0


def test_quantize_sigmoid_moves_no_value_by_more_than_a_step() -> None:
    model, _ = lower(two_convs(), ["drop_multiply_by_one", "activations_to_uint8"])
    after, report = quantize_sigmoid(model)
    assert report.counts == {"sigmoids_quantized": 2}
    for sigmoid in Graph(after).of_type("Sigmoid"):
        assert [r.op_type for r in Graph(after).readers(sigmoid.output[0])] == ["QuantizeLinear"]
    # A sigmoid is off by 1/510 at most, x by 6.4 at most: a quarter of a step of 0.05, so a value moves by one step
    # at most in the first layer, and by what the second convolution makes of a few such steps in the other.
    assert np.abs(run(model)[0] - run(after)[0]).max() <= 0.1 + 1e-6
    assert np.mean(np.abs(run(model)[0] - run(after)[0])) < 0.0125  # a step for a quarter of the values


def test_quantize_sigmoid_leaves_other_sigmoids_alone() -> None:
    _, report = quantize_sigmoid(two_convs())  # int8
    assert report.counts == {} and "no Sigmoid" in report.remarks[0]
    b = Build(("x", [1, 4]))
    x = b.qdq("x", 0.02, kind=np.uint8, zero=128)
    b.node("Sigmoid", x, out="y")
    _, report = quantize_sigmoid(b.model(y=[1, 4]))
    assert report.counts == {}


@pytest.mark.parametrize("backend", list(RECIPES))
def test_a_recipe_on_a_head_is_close_to_the_exact_boxes(backend: str) -> None:
    lowered, _ = lower(head(), RECIPES[backend])
    onnx.checker.check_model(lowered, full_check=True)
    difference = np.abs(run(lowered)[0] - exact())
    assert difference.mean() < 0.05


def test_free_silu_takes_the_pair_before_it_and_leaves_the_one_behind() -> None:
    model, _ = lower(two_convs(), ["drop_multiply_by_one"])
    after, report = free_silu(model)
    assert report.counts == {"pairs_removed": 2}
    graph = Graph(after)
    for conv in graph.of_type("Conv"):
        assert sorted(r.op_type for r in graph.readers(conv.output[0])) == ["Mul", "Sigmoid"]
    # Half a step of 0.05 less of rounding per layer, and what the second convolution makes of it.
    difference = np.abs(run(model)[0] - run(after)[0])
    assert 0 < difference.max() <= 0.15 + 1e-6 and difference.mean() < 0.02


def test_attention_gates_are_quantized_too() -> None:
    b = Build(("x", [1, 4, 8, 8]), ("w", [1, 4, 1, 1]))
    gate = b.node("Sigmoid", b.qdq("w", 0.05, kind=np.uint8, zero=128))
    b.node("Identity", b.qdq(b.node("Mul", b.qdq("x", 0.05, kind=np.uint8, zero=128), gate), 0.05), out="y")
    model = b.model(y=[1, 4, 8, 8])
    after, report = quantize_sigmoid(model)
    assert report.counts == {"sigmoids_quantized": 1}
    assert np.abs(run(model)[0] - run(after)[0]).max() <= 0.05 + 1e-6


def test_a_range_of_one_that_is_true_is_kept() -> None:
    b = Build(("x", [1, 2, 4, 4]))
    gate = b.qdq(b.node("Sigmoid", b.qdq("x", 0.05)), 1 / 127)
    weight = b.qdq(b.const(np.zeros((2, 2, 1, 1))), np.float32([1e-6] * 2), axis=0)
    bias = b.int32([1000, -1000], np.float32([1e-3] * 2))
    conv = b.qdq(b.node("Conv", b.qdq("x", 0.05), weight, bias, kernel_shape=[1, 1]), 1 / 127)
    b.node("Add", gate, conv, out="y")
    _, report = drop_unobserved(b.model(y=[1, 2, 4, 4]))
    assert report.counts == {}
