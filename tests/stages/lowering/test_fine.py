"""Outputs in several windows of eight bits: the same values in finer steps, in the same integer convolutions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from stages.lowering.fine import LANES, fine_outputs
from stages.lowering.graph import Graph
from stages.lowering.passes import lower
from tests.stages.qdq import Array, Build, count, run
from tests.stages.recipes import RECIPES

STEP = 0.04


def head(
    channels: int = 3,
    *,
    kind: Any = np.uint8,
    zero: int = 128,
    bias: bool = True,
    step: float = STEP,
    weights: float = 1.0,
) -> onnx.ModelProto:
    """image -> quantized 3x3 convolution -> Q/DQ -> Sigmoid, as a head predicts classes."""
    rng = np.random.default_rng(0)
    b = Build(("image", [1, 8, 32, 32]))
    x = b.qdq("image", 0.03, zero=128, kind=np.uint8)
    weight = (weights * rng.standard_normal((channels, 8, 3, 3)) / 4).astype(np.float32)
    scale = np.abs(weight).max(axis=(1, 2, 3)) / 127
    more = [b.int32(rng.integers(-3000, 3000, channels), scale * np.float32(0.03))] if bias else []
    conv = b.node("Conv", x, b.qdq(b.const(weight), scale, axis=0), *more, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    logits = b.qdq(conv, step, zero=zero, kind=kind)
    b.node("Identity", logits, out="logits")
    b.node("Sigmoid", logits, out="scores")
    return lower(b.model(logits=[1, channels, 32, 32], scores=[1, channels, 32, 32]), ["fold_weights"])[0]


def unrounded(model: onnx.ModelProto, step: float, kind: Any, zero: int) -> Array:
    """What the convolution gives, clipped to the quantizer's range."""
    graph = Graph(model)
    conv = next(graph.of_type("Conv"))
    info = np.iinfo(kind)
    graph.model.graph.output.append(onnx.helper.make_tensor_value_info(conv.output[0], onnx.TensorProto.FLOAT, None))
    graph.outputs.add(conv.output[0])
    value = run(graph.finish())[-1]
    return np.clip(value, (info.min - zero) * step, (info.max - zero) * step)


@pytest.mark.parametrize(("kind", "zero"), [(np.uint8, 128), (np.uint8, 7), (np.int8, 0), (np.int8, -128)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("channels", [1, 3, 5, 8])
def test_values_are_those_of_the_convolution_rounded_to_finer_steps(
    channels: int, bias: bool, kind: Any, zero: int
) -> None:
    model = head(channels, kind=kind, zero=zero, bias=bias)
    fine, report = fine_outputs(model)
    onnx.checker.check_model(fine, full_check=True)
    assert report.counts == {"outputs_divided": 1} and not report.remarks
    parts = LANES // channels
    exact = unrounded(model, STEP, kind, zero)
    coarse, finer = (np.abs(run(of)[0] - exact).max() for of in (model, fine))
    assert STEP * 0.4 < coarse <= STEP / 2 + 1e-5
    assert finer <= STEP / parts * (0.5 + 0.0625) + 1e-4 and finer < coarse * 0.6
    assert np.unique(run(fine)[0]).size > 1.5 * np.unique(run(model)[0]).size


def test_values_beyond_the_range_are_clipped_where_they_were() -> None:
    model = head(step=0.004)
    fine, _ = fine_outputs(model)
    before, after = run(model)[0], run(fine)[0]
    for end in (before.min(), before.max()):
        assert (before == end).sum() > 20
        assert np.abs(after[before == end] - end).max() <= 0.004 / 2 + 1e-4


def test_it_stays_an_integer_convolution_of_as_many_lanes(tmp_path: Path) -> None:
    fine, _ = fine_outputs(head())
    settings = ort.SessionOptions()
    settings.enable_profiling, settings.profile_file_prefix = True, str(tmp_path / "profile")
    session = ort.InferenceSession(fine.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    session.run(None, {"image": np.zeros((1, 8, 32, 32), np.float32)})
    events = json.loads(Path(session.end_profiling()).read_text())
    ran = {event["args"]["op_name"] for event in events if event.get("cat") == "Node"}
    assert "QLinearConv" in ran and "Conv" not in ran
    assert np.abs(run(fine, optimized=True)[0] - run(fine)[0]).max() <= STEP / 5 + 1e-4
    graph = Graph(fine)
    conv = next(graph.of_type("Conv"))
    assert graph.shape(conv.output[0]) == [1, 15, 32, 32]


@pytest.mark.parametrize("channels", [9, 16, 68, 80])
def test_channels_that_fill_the_lanes_stay_as_they_are(channels: int) -> None:
    model = head(channels)
    fine, report = fine_outputs(model)
    assert not report.counts and fine.graph.node == model.graph.node


def test_no_more_windows_than_the_biases_are_fine_enough_for() -> None:
    fine, report = fine_outputs(head(1, weights=8))
    assert report.counts == {"outputs_divided": 1}
    parts = Graph(fine).shape(next(Graph(fine).of_type("Conv")).output[0])
    assert parts is not None and 2 <= parts[1] < LANES
    exact = unrounded(head(1, weights=8), STEP, np.uint8, 128)
    assert np.abs(run(fine)[0] - exact).max() <= STEP / parts[1] * (0.5 + 0.125) + 1e-4


def test_a_bias_that_is_too_coarse_to_be_shifted_leaves_the_steps_and_says_so() -> None:
    model = head(weights=1e-9)  # what a pruned channel may have
    assert fine_outputs(model)[1].remarks and "as finely" in fine_outputs(model)[1].remarks[0]
    coarse = head(weights=400)
    fine, report = fine_outputs(coarse)
    assert report.remarks and not report.counts and np.array_equal(run(fine)[0], run(coarse)[0])


def test_an_older_opset_is_left_alone_aloud() -> None:
    model = head()
    model.opset_import[0].version = 12
    fine, report = fine_outputs(model)
    assert report.remarks == ["the graph has opset 12; finer outputs need 13"] and fine == model


def test_what_a_convolution_reads_or_others_read_in_integers_stays() -> None:
    rng = np.random.default_rng(0)
    b = Build(("image", [1, 8, 6, 6]))
    x = b.qdq("image", 0.03, zero=128, kind=np.uint8)
    for last in (False, True):
        weight = (rng.standard_normal((8 if not last else 2, 8, 1, 1)) / 8).astype(np.float32)
        w = b.qdq(b.const(weight), np.abs(weight).max(axis=(1, 2, 3)) / 127, axis=0)
        x = b.qdq(b.node("Conv", x, w, kernel_shape=[1, 1]), 0.1, zero=128, kind=np.uint8)
    b.node("Sigmoid", x, out="scores")
    model, _ = lower(b.model(scores=[1, 2, 6, 6]), ["fold_weights"])
    fine, report = fine_outputs(model)
    assert report.counts == {"outputs_divided": 1}
    first, second = Graph(fine).of_type("Conv")
    assert (Graph(fine).shape(first.output[0]), Graph(fine).shape(second.output[0])) == ([1, 8, 6, 6], [1, 16, 6, 6])


def test_integers_that_somebody_else_reads_stay() -> None:
    model = head()
    graph = Graph(model)
    quantizer = graph.readers(next(graph.of_type("Conv")).output[0])[0]
    back = graph.readers(quantizer.output[0])[0]
    graph.set_input(back, 0, graph.add_node("Transpose", [quantizer.output[0]], "turned", perm=[0, 1, 3, 2]))
    fine, report = fine_outputs(graph.finish())
    assert not report.counts and count(fine, "Sum") == 0


def test_it_is_in_the_recipe_of_onnx_runtime_alone() -> None:
    assert [name for name, recipe in RECIPES.items() if "fine_outputs" in recipe] == ["onnxruntime"]
    assert count(lower(head(), RECIPES["onnxruntime"])[0], "Sum") == 1
