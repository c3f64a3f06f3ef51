"""Each pass: what it changes, and that the outputs stay within the stated bound (optimisations off)."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from stages.errors import ConfigError, StageError
from stages.lowering.activations import activations_to_uint8
from stages.lowering.cleanup import drop_duplicate_qdq, drop_multiply_by_one, mean_to_pool
from stages.lowering.graph import Graph
from stages.lowering.passes import PASSES, lower
from stages.lowering.weights import fold_bias, fold_weights, lift_zero_scales
from tests.stages.qdq import Build, count, run, two_convs
from tests.stages.recipes import RECIPES


def same(a: onnx.ModelProto, b: onnx.ModelProto, bound: float = 0.0) -> None:
    for x, y in zip(run(a), run(b), strict=True):
        assert np.isfinite(x).all() and np.abs(x).max() > 0
        assert np.abs(x - y).max() <= bound


@pytest.mark.parametrize("name", list(PASSES))
def test_a_pass_leaves_its_input_alone_and_gives_a_valid_model(name: str) -> None:
    model = two_convs()
    before = model.SerializeToString()
    after, report = PASSES[name](model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(after, full_check=True)
    assert report.name == name


def test_fold_weights_keeps_every_bit() -> None:
    model = two_convs()
    folded, report = fold_weights(model)
    assert report.counts == {"weights_folded": 2}
    assert count(model, "QuantizeLinear") - count(folded, "QuantizeLinear") == 2
    graph = Graph(folded)
    for conv in graph.of_type("Conv"):
        dequantizer = graph.producer(conv.input[1])
        assert dequantizer is not None
        weight = graph.constant(dequantizer.input[0])
        assert weight is not None and weight.dtype == np.int8 and np.abs(weight.astype(int)).max() == 127
    same(model, folded)


def test_fold_weights_says_when_there_was_nothing_to_do() -> None:
    folded, _ = fold_weights(two_convs())
    _, report = fold_weights(folded)
    assert report.counts == {} and "no float weight" in report.remarks[0]


def test_activations_to_uint8_keeps_every_bit() -> None:
    model, _ = fold_weights(two_convs())
    moved, report = activations_to_uint8(model)
    assert report.counts == {"activations_moved": 5}
    graph = Graph(moved)
    for node in graph.of_type("QuantizeLinear"):
        how = graph.scale_of(node)
        assert how.zero_point.dtype == np.uint8 and how.zero_point == 128
    same(model, moved)


def test_activations_keep_a_zero_point_that_is_not_zero() -> None:
    b = Build(("x", [1, 4]))
    b.node("Identity", b.qdq("x", 0.02, zero=-100), out="y")
    moved, _ = activations_to_uint8(b.model(y=[1, 4]))
    graph = Graph(moved)
    assert [int(graph.scale_of(n).zero_point) for n in graph.of_type("QuantizeLinear")] == [28]
    same(b.model(y=[1, 4]), moved)


def test_activations_read_as_int8_by_another_node_are_an_error() -> None:
    b = Build(("x", [1, 4]))
    scale, zero = b.const(0.02), b.const(0, np.int8)
    q = b.node("QuantizeLinear", "x", scale, zero)
    b.node("DequantizeLinear", b.node("Reshape", q, b.const([4, 1], np.int64)), scale, zero, out="y")
    with pytest.raises(StageError, match="read by Reshape"):
        activations_to_uint8(b.model(y=[4, 1]))


def test_fold_bias_gives_float_biases_within_a_rounding() -> None:
    model = two_convs()
    folded, report = fold_bias(model)
    assert report.counts == {"biases_folded": 2}
    graph = Graph(folded)
    assert all(graph.constant(conv.input[2]) is not None for conv in graph.of_type("Conv"))
    same(model, folded, bound=1e-7)


def zero_channel() -> onnx.ModelProto:
    """A convolution with a dead channel: zero weights, zero scale, and a bias behind a zero scale."""
    b = Build(("x", [1, 2, 4, 4]))
    weight = np.ones((3, 2, 1, 1), np.float32)
    weight[1] = 0
    w = b.qdq(b.const(weight), np.array([1 / 127, 0, 1 / 127], np.float32), axis=0)
    bias = b.int32([100, -(2**31), -100], np.array([1e-3, 0, 1e-3], np.float32))
    b.node("Conv", b.qdq("x", 0.03), w, bias, out="y", kernel_shape=[1, 1])
    return b.model(y=[1, 3, 4, 4])


def test_lift_zero_scales_keeps_the_numbers_and_leaves_no_zero() -> None:
    model = zero_channel()
    lifted, report = lift_zero_scales(model)
    assert report.counts == {"scales_lifted": 3}  # the weight's two ends and the bias
    assert "lost the bias of 1 channels" in report.remarks[0]
    graph = Graph(lifted)
    (conv,) = graph.of_type("Conv")
    x, w, b = (graph.scale_of(graph.producer(name)).scale for name in conv.input)  # type: ignore[arg-type]
    assert b[1] == x * w[1]  # what runtimes that fuse take it for
    assert all((graph.scale_of(n).scale > 0).all() for n in graph.of_type("QuantizeLinear", "DequantizeLinear"))
    outputs = run(lifted)[0]
    assert np.isfinite(outputs).all() and (outputs[:, 1] == 0).all()
    # An x / 0 is undefined, so the reference is the arithmetic: a dead channel gives zero, the others are untouched.
    reference = run(fold_bias(lifted)[0])[0]
    assert np.abs(outputs - reference).max() <= 1e-6
    folded, _ = fold_weights(lifted)
    same(lifted, folded)


def test_fold_weights_refuses_zero_scales() -> None:
    with pytest.raises(StageError, match="lift_zero_scales first"):
        fold_weights(zero_channel())


def test_an_activation_with_a_zero_scale_is_a_broken_calibration() -> None:
    b = Build(("x", [1, 4]))
    b.node("Identity", b.qdq(b.node("Abs", "x"), 0.0), out="y")
    with pytest.raises(StageError, match="calibration saw only zeros"):
        lift_zero_scales(b.model(y=[1, 4]))


def test_drop_multiply_by_one() -> None:
    model = two_convs()
    dropped, report = drop_multiply_by_one(model)
    assert report.counts == {"multiplies_dropped": 2}
    assert count(model, "Mul") - count(dropped, "Mul") == 2
    same(model, dropped)


def test_a_multiply_by_one_that_changes_the_shape_or_is_the_output_stays() -> None:
    b = Build(("x", [1, 4]))
    wide = b.node("Mul", "x", b.const(np.ones((3, 1))))
    b.node("Mul", wide, b.const(1.0), out="y")
    _, report = drop_multiply_by_one(b.model(y=[3, 4]))
    assert report.counts == {} and "graph output" in report.remarks[0]


def test_drop_duplicate_qdq_merges_twins_and_repeats() -> None:
    b = Build(("x", [1, 4]))
    x = b.node("Abs", "x")
    first, twin, other = b.qdq(x, 0.02), b.qdq(x, 0.02), b.qdq(x, 0.03)
    repeated = b.qdq(first, 0.02)
    b.node("Sum", first, twin, other, repeated, out="y")
    model = b.model(y=[1, 4])
    dropped, report = drop_duplicate_qdq(model)
    assert report.counts["twins_merged"] == 1 and report.counts["repeated_pairs_dropped"] == 1
    assert count(dropped, "QuantizeLinear") == 2 and count(dropped, "DequantizeLinear") == 2
    same(model, dropped)


def test_mean_to_pool_replaces_the_mean_over_a_map_and_no_other() -> None:
    b = Build(("x", [1, 4, 6, 5]))
    over_map = b.node("ReduceMean", "x", axes=[2, 3], keepdims=1)
    negative = b.node("ReduceMean", "x", axes=[-1, -2])
    other = b.node("ReduceMean", "x", axes=[1, 2], keepdims=1)
    b.node("Sum", over_map, negative, other, out="y")
    model = b.model(y=[1, 4, 1, 5])
    after, report = mean_to_pool(model)
    assert report.counts == {"means_replaced": 2} and count(after, "ReduceMean") == 1
    same(model, after, bound=1e-6)


@pytest.mark.parametrize("backend", list(RECIPES))
def test_a_recipe_keeps_the_outputs(backend: str) -> None:
    model = two_convs()
    lowered, reports = lower(model, RECIPES[backend])
    assert [r["name"] for r in reports] == list(RECIPES[backend])
    difference = np.abs(run(model)[0] - run(lowered)[0])
    # Half a step of 0.05, uniformly, because the last pair is taken off; and a step more for sigmoids in eight bits.
    assert difference.max() <= 0.1
    assert np.mean(difference) <= 0.02


def test_an_unknown_pass_is_named() -> None:
    with pytest.raises(ConfigError, match="'fold_wieghts' is not known"):
        lower(two_convs(), ["fold_wieghts"])


def test_a_computed_scale_is_refused() -> None:
    b = Build(("x", [1, 4]), ("s", []))
    zero = b.const(0, np.int8)
    b.node("DequantizeLinear", b.node("QuantizeLinear", "x", "s", zero), "s", zero, out="y")
    with pytest.raises(StageError, match="computed scale"):
        activations_to_uint8(b.model(y=[1, 4]))


def test_control_flow_is_refused() -> None:
    inner = Build(("a", [1]))
    inner.node("Abs", "a", out="b")
    body = inner.model(b=[1]).graph
    del body.input[:]
    outer = onnx.helper.make_graph(
        [onnx.helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)], "g", [], []
    )
    with pytest.raises(StageError, match="control flow"):
        Graph(onnx.helper.make_model(outer))
