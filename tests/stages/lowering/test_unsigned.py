"""ReLU on eight bits: no node of its own, all steps for what is not negative, nothing else moved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from stages.lowering.graph import Graph
from stages.lowering.passes import lower
from stages.lowering.placement import free_silu
from stages.lowering.unsigned import unsigned_relu
from stages.lowering.weights import bias_scale
from tests.stages.qdq import Array, Build, count, run, two_convs
from tests.stages.recipes import RECIPES

STEP = 0.04


def convolved(b: Build, x: str, channels: tuple[int, int], rng: np.random.Generator, step: float = STEP) -> str:
    """Conv with its bias in steps of input times weight, and its Q/DQ pair, as Paddle2ONNX writes them.

    ``step``: of ``x``.
    """
    c_in, c_out = channels
    weight = rng.standard_normal((c_out, c_in, 3, 3)).astype(np.float32) / np.sqrt(9 * c_in)
    scale = np.abs(weight).max(axis=(1, 2, 3)) / 127
    w = b.qdq(b.const(weight), scale, axis=0)
    bias = b.int32(rng.integers(-300, 300, c_out), scale * np.float32(step))
    return b.qdq(b.node("Conv", x, w, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1]), STEP)


def activated(b: Build, x: str, operator: str = "Relu", **attributes: Any) -> str:
    return b.qdq(b.node(operator, x, **attributes), STEP)


def blocks(attention: str = "HardSigmoid") -> onnx.ModelProto:
    """Two convolutions with ReLU, their sum, a pool, both concatenated, channel attention, and a last convolution."""
    rng = np.random.default_rng(0)
    b = Build(("image", [1, 3, 16, 16]))
    one = activated(b, convolved(b, b.qdq("image", 0.03), (3, 8), rng, 0.03))
    two = activated(b, convolved(b, one, (8, 8), rng))
    total = b.qdq(b.node("Add", one, two), STEP)
    pooled = b.qdq(b.node("MaxPool", total, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1]), STEP)
    both = b.qdq(b.node("Concat", total, pooled, axis=1), STEP)
    gate = b.qdq(b.node(attention, b.qdq(b.node("GlobalAveragePool", both), STEP)), 1 / 127)
    weighted = b.qdq(b.node("Mul", both, gate), STEP)
    b.node("Identity", convolved(b, weighted, (16, 4), rng), out="out")
    return b.model(out=[1, 4, 16, 16])


def exact(model: onnx.ModelProto) -> Array:
    """The outputs with every Q/DQ pair of an activation taken out."""
    graph = Graph(model)
    for node in graph.of_type("QuantizeLinear"):
        if graph.constant(node.input[0]) is None:
            (back,) = graph.readers(node.output[0])
            graph.redirect(back.output[0], node.input[0])
            graph.remove(back)
            graph.remove(node)
    return run(graph.finish())[0]


def test_relu_becomes_the_range_of_a_quantizer_and_all_that_comes_of_it_has_twice_the_steps() -> None:
    model = blocks()
    after, report = unsigned_relu(model)
    onnx.checker.check_model(after, full_check=True)
    assert count(after, "Relu") == 0
    # Two in front of ReLU went; those of ReLU, sum, pool, concatenation, mean and product moved.
    assert report.counts == {"pairs_removed": 2, "ranges_unsigned": 7, "biases_rescaled": 2, "relus_dropped": 2}
    graph = Graph(after)
    scales = [graph.scale_of(node) for node in graph.of_type("QuantizeLinear") if graph.constant(node.input[0]) is None]
    moved = [how for how in scales if how.zero_point.dtype == np.uint8]
    assert [float(how.scale) for how in moved] == pytest.approx([STEP * 127 / 255] * 7)
    assert not any(how.zero_point.any() for how in moved)
    for conv in graph.of_type("Conv"):
        x, weight, bias = (graph.producer(name) for name in conv.input)
        assert x is not None and weight is not None and bias is not None
        np.testing.assert_allclose(
            bias_scale(graph, bias).scale, graph.scale_of(x).scale * graph.scale_of(weight).scale, rtol=1e-6
        )
    wanted = exact(model)
    before, now = (np.abs(run(one)[0] - wanted).mean() for one in (model, after))
    assert now < 0.9 * before  # the image and the last convolution are rounded as before


def test_a_gate_alone_is_no_reason_to_move_a_range() -> None:
    """Models without ReLU stay as they are, to the byte."""
    for model in (two_convs(), lower(two_convs(), ["drop_multiply_by_one", "activations_to_uint8"])[0]):
        after, report = unsigned_relu(model)
        assert report.counts == {} and report.remarks == []
        assert after.SerializeToString(deterministic=True) == Graph(model).finish().SerializeToString(
            deterministic=True
        )


def test_what_may_be_negative_keeps_its_sign() -> None:
    rng = np.random.default_rng(0)
    b = Build(("image", [1, 3, 8, 8]))
    x = b.qdq("image", 0.03)
    positive, other = activated(b, convolved(b, x, (3, 4), rng, 0.03)), convolved(b, x, (3, 4), rng, 0.03)
    total = b.qdq(b.node("Add", positive, other), STEP)
    joined = b.qdq(b.node("Concat", positive, total, axis=1), STEP)
    b.node("Identity", joined, out="out")
    model = b.model(out=[1, 8, 8, 8])
    after, report = unsigned_relu(model)
    assert report.counts == {"pairs_removed": 1, "ranges_unsigned": 1, "relus_dropped": 1}
    assert np.abs(run(after)[0] - run(model)[0]).max() <= 1.5 * STEP


def test_a_relu_that_is_read_in_float_stays_and_is_told_of() -> None:
    rng = np.random.default_rng(0)
    b = Build(("image", [1, 3, 8, 8]))
    relu = b.node("Relu", convolved(b, b.qdq("image", 0.03), (3, 4), rng, 0.03))
    b.node("Add", b.qdq(relu, STEP), b.node("Exp", relu), out="out")
    after, report = unsigned_relu(b.model(out=[1, 4, 8, 8]))
    assert count(after, "Relu") == 1
    assert len(report.remarks) == 1 and "not only quantizers read it" in report.remarks[0]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "openvino_uint8"])
def test_no_relu_is_left_by_a_recipe(backend: str) -> None:
    lowered, _ = lower(blocks(), RECIPES[backend])
    assert count(lowered, "Relu") == 0
    assert np.abs(run(lowered)[0] - exact(blocks())).mean() < 0.5 * STEP


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [("Relu", {}), ("LeakyRelu", {"alpha": 0.1}), ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5})],
)
def test_nothing_is_rounded_between_a_convolution_and_its_activation(operator: str, attributes: dict[str, Any]) -> None:
    """For runtimes that fuse the three; ``HardSigmoid`` stands for hard swish, as Paddle2ONNX may write it."""
    rng = np.random.default_rng(0)
    b = Build(("image", [1, 3, 8, 8]))
    x = convolved(b, b.qdq("image", 0.03), (3, 4), rng, 0.03)
    gate = b.node(operator, x, **attributes)
    b.node("Identity", b.qdq(b.node("Mul", x, gate) if operator == "HardSigmoid" else gate, STEP), out="out")
    model = b.model(out=[1, 4, 8, 8])
    after, report = free_silu(model)
    assert report.counts == {"pairs_removed": 1}
    assert np.abs(run(model)[0] - run(after)[0]).max() <= 1.5 * STEP


def test_onnx_runtime_runs_convolution_and_relu_as_one_integer_kernel(tmp_path: Path) -> None:
    import onnxruntime

    lowered, _ = lower(blocks(), RECIPES["onnxruntime"])
    settings = onnxruntime.SessionOptions()
    settings.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    settings.enable_profiling = True
    settings.profile_file_prefix = str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(lowered.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    session.run(None, {"image": np.ones([1, 3, 16, 16], np.float32)})
    events = json.loads(Path(session.end_profiling()).read_text())
    kinds = [e["args"]["op_name"] for e in events if e.get("args", {}).get("op_name")]
    assert kinds.count("QLinearConv") == 3
    assert not {"Relu", "Conv", "FusedConv"} & set(kinds), kinds
