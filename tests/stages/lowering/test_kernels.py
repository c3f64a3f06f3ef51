"""Weights written differently are the same weights; and the tuner picks what it has timed to be faster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from stages.backends.onnxruntime.tuning import fastest, kinds, name_convolutions, pooled, tune
from stages.lowering.graph import Graph
from stages.lowering.kernels import shift_weights
from stages.lowering.passes import lower
from tests.stages.qdq import Build, run, two_convs
from tests.stages.recipes import RECIPES


def lowered() -> onnx.ModelProto:
    return lower(two_convs(), RECIPES["onnxruntime"])[0]


def names(model: onnx.ModelProto) -> list[str]:
    return [n.name for n in model.graph.node if n.op_type == "Conv"]


def zero_points(model: onnx.ModelProto) -> list[int]:
    graph = Graph(model)
    found = []
    for conv in graph.of_type("Conv"):
        dequantizer = graph.producer(conv.input[1])
        assert dequantizer is not None
        found.append(int(graph.scale_of(dequantizer).zero_point.min()))
    return found


@pytest.mark.parametrize("optimized", [False, True])
def test_shifted_weights_give_the_same_outputs(optimized: bool) -> None:
    model = lowered()
    shifted, report = shift_weights(model, names(model))
    assert report.counts == {"weights_shifted": 2} and zero_points(shifted) == [-1, -1]
    onnx.checker.check_model(shifted, full_check=True)
    assert np.array_equal(run(model, optimized=optimized)[0], run(shifted, optimized=optimized)[0])


def test_only_the_named_are_shifted_and_only_if_there_is_room() -> None:
    model = lowered()
    assert zero_points(shift_weights(model, names(model)[1:])[0]) == [0, -1]
    graph = Graph(model)
    conv = next(graph.of_type("Conv"))
    dequantizer = graph.producer(conv.input[1])
    assert dequantizer is not None
    weight = graph.constant(dequantizer.input[0])
    assert weight is not None
    full = np.where(weight == -127, -128, weight).astype(np.int8)
    full.flat[0] = -128
    graph.set_input(dequantizer, 0, graph.add_constant(full, "full"))
    shifted, report = shift_weights(graph.finish(), names(model))
    assert zero_points(shifted) == [0, -1] and "no room" in report.remarks[0]


def test_shared_weights_are_shifted_for_the_named_convolution_alone() -> None:
    b = Build(("x", [1, 2, 4, 4]))
    w = b.qdq(b.const(np.ones((2, 2, 1, 1))), np.float32([1 / 127] * 2), axis=0)
    x = b.qdq("x", 0.05)
    first = b.node("Conv", x, w, out="first", kernel_shape=[1, 1])
    b.node("Add", first, b.node("Conv", x, w, out="second", kernel_shape=[1, 1]), out="y")
    model, _ = lower(b.model(y=[1, 2, 4, 4]), ["fold_weights"])
    shifted, _ = shift_weights(model, {"n.second"})
    assert sorted(zero_points(shifted)) == [-1, 0]
    assert np.array_equal(run(model)[0], run(shifted)[0])


class Timed:
    """A session that takes the time it is told to: kernel microseconds by convolution."""

    def __init__(self, model: Path, folder: Path, times: dict[int, dict[str, float]]) -> None:
        self.shifted = zero_points(onnx.load(str(model)))[0]
        self.times, self.folder, self.runs = times[self.shifted], folder, 0

    def get_inputs(self) -> list[Any]:
        return []

    def run(self, outputs: None, feeds: dict[str, Any]) -> None:
        self.runs += 1

    def end_profiling(self) -> str:
        events: list[dict[str, Any]] = [{"name": "model_run", "dur": 1}]
        for i in range(self.runs):
            for conv, dur in self.times.items():
                args = {"op_name": "QLinearConv"}
                events.append({"name": f"{conv}_token_{i + 7}_kernel_time", "dur": dur + i % 3, "args": args})
        path = self.folder / "profile.json"
        path.write_text(json.dumps(events))
        return str(path)


def test_the_tuner_takes_the_faster_kernel_by_a_margin(tmp_path: Path) -> None:
    model = lowered()
    first, second = names(model)
    times = {0: {first: 100.0, second: 100.0}, -1: {first: 60.0, second: 95.0}}
    tuned, notes = tune(model, lambda file, folder: Timed(file, folder, times), tmp_path)
    assert zero_points(tuned) == [-1, 0]
    assert notes == {"convolutions": 2, "shifted": [first], "before_ms": 0.2, "after_ms": 0.16}


def test_the_fastest_run_counts(tmp_path: Path) -> None:
    events = [
        {"name": "a_token_3_kernel_time", "dur": 9, "args": {"op_name": "QLinearConv"}},
        {"name": "a_token_3_kernel_time", "dur": 5, "args": {"op_name": "QLinearConv"}},
        {"name": "a_token_3_fence_before", "dur": 1, "args": {"op_name": "QLinearConv"}},
        {"name": "b_kernel_time", "dur": 2, "args": {"op_name": "QLinearAdd"}},
    ]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(events))
    assert fastest(path) == {"a": 5.0}


def test_layers_of_a_kind_share_their_fastest_time(tmp_path: Path) -> None:
    model = lowered()
    first, second = names(model)
    shapes = {first: [1, 8, 16, 16], second: [1, 8, 16, 16], "other": [1, 8, 8, 8]}
    events = [
        {
            "name": f"{name}_token_3_kernel_time",
            "dur": dur,
            "args": {"op_name": "QLinearConv", "output_type_shape": [{"uint8": shapes[name]}]},
        }
        for name, dur in ((first, 9), (second, 5), ("other", 2))
    ]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(events))
    kind = kinds(path, model)
    assert len(set(kind.values())) == 3  # the two differ in their weights
    assert pooled(fastest(path), kind) == {first: 9, second: 5, "other": 2}
    assert pooled(fastest(path), {**kind, second: kind[first]}) == {first: 5, second: 5, "other": 2}


def test_a_float_convolution_whose_weights_are_a_constant_node_has_a_kind_too(tmp_path: Path) -> None:
    model = name_convolutions(lowered())
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    value = onnx.numpy_helper.from_array(np.zeros((2, 2, 1, 1), np.float32))
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["plain"], value=value))
    first.input[1] = "plain"
    path = tmp_path / "profile.json"
    path.write_text("[]")
    assert kinds(path, model) == {}


def test_convolutions_without_names_get_some() -> None:
    model = lowered()
    for node in model.graph.node:
        if node.op_type == "Conv":
            node.name = ""
    named = names(name_convolutions(model))
    assert all(named) and len(set(named)) == 2
