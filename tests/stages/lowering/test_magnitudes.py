"""The largest numbers of a graph, on known inputs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from stages.lowering.magnitudes import largest
from tests.stages.qdq import Build


def graph() -> onnx.ModelProto:
    """x times -300 -> squared -> the square root, and its shape beside it."""
    built = Build(("x", [1, 3]))
    times = built.node("Mul", "x", built.const([-300.0]), out="times")
    square = built.node("Mul", times, times, out="square")
    built.node("Sqrt", square, out="y")
    built.node("Shape", square, out="shape")
    return built.model(y=[1, 3])


def test_the_largest_magnitude_over_all_runs_is_told() -> None:
    model = graph()
    before = model.SerializeToString()
    found = largest(model, [{"x": np.float32([[1, 0, 0]])}, {"x": np.float32([[0, 2, -1]])}])
    assert found == pytest.approx({"times": 600, "square": 360_000, "y": 600})
    assert model.SerializeToString() == before


def test_what_is_not_finite_is_infinite() -> None:
    found = largest(graph(), [{"x": np.float32([[1e30, 0, 0]])}])
    assert found["square"] == np.inf and found["times"] == pytest.approx(3e32)
