"""The largest numbers of a graph, on known inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from stages.lowering.magnitudes import NOTED, largest, read, write
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


def test_large_ones_are_kept_in_a_file(tmp_path: Path) -> None:
    write({"small": NOTED - 1, "large": 5000.0, "broken": np.inf}, tmp_path / "magnitudes.json")
    assert read(tmp_path / "magnitudes.json") == {"large": 5000.0, "broken": np.inf}
    assert read(tmp_path / "none.json") == {}
