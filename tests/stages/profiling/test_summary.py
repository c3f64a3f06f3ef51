"""Sums and shares of layers whose times are known, beside a peak that is known."""

from __future__ import annotations

import pytest

from stages.backends.profiled import Profiled, ProfiledLayer
from stages.profiling.summary import Turn, summarise

RATE = 1e9  # multiply-adds a second


def conv(name: str, ms: list[float], reads: str, multiply_adds: int, number_format: str = "fp32") -> ProfiledLayer:
    return ProfiledLayer(name, "Conv", ms, [reads], [name], number_format, multiply_adds, "3×3, 8 → 8, 4×4")


def two_turns(slower: float = 1.0) -> list[Turn]:
    """Run 0 warms up; two rounds of two runs, the clock ``slower`` in the second."""
    return [Turn(range(1, 3), {"fp32": RATE}), Turn(range(3, 5), {"fp32": RATE / slower})]


def test_groups_and_kinds_add_up_to_the_sum_of_the_layers() -> None:
    layers = [
        conv("a", [90, 4, 4, 4, 4], "image", 2_000_000),
        ProfiledLayer("b", "Relu", [90, 1, 1, 1, 1], ["a"], ["b"]),
        conv("c", [90, 2, 2, 2, 2], "b", 1_000_000),
        ProfiledLayer("d", "Reshape", [9, 1, 1, 1, 1], ["c"], ["d"]),
        ProfiledLayer("weights", "Const", [0, 0, 0, 0, 0], [], ["w"]),
    ]
    found = summarise(Profiled(layers, ["d"]), two_turns())
    assert found["sum_ms"] == 8  # the run that warms up is none of them
    assert {name: of["ms"] for name, of in found["groups"].items()} == {"convolutions": 6, "activations": 1, "tail": 1}
    assert sum(of["share"] for of in found["groups"].values()) == pytest.approx(1)
    assert list(found["kinds"]) == ["Conv", "Relu", "Reshape"]
    assert sum(of["ms"] for of in found["kinds"].values()) == found["sum_ms"]
    assert [one["name"] for one in found["layers"]] == ["a", "c", "b", "d"]  # the longest first, and no constants
    (shape,) = found["shapes"]
    assert (shape["layers"], shape["ms"], shape["multiply_adds"]) == (2, 6, 3_000_000)
    assert found["convolutions"]["of_peak"] == shape["of_peak"] == pytest.approx(0.5)  # 3 ms of work in 6
    assert found["peak"] == {"fp32": RATE}


def test_a_run_that_others_held_up_counts_for_the_time_and_not_against_the_layer() -> None:
    layers = [conv("a", [9, 4, 40, 4, 40], "image", 2_000_000)]
    found = summarise(Profiled(layers, ["a"]), two_turns())
    assert found["sum_ms"] == 22 and found["convolutions"]["of_peak"] == pytest.approx(0.5)


def test_a_clock_that_changes_between_rounds_leaves_the_share_of_the_peak() -> None:
    layers = [conv("a", [9, 4, 4, 8, 8], "image", 2_000_000)]
    assert summarise(Profiled(layers, ["a"]), two_turns(slower=2.0))["convolutions"]["of_peak"] == pytest.approx(0.5)


def test_of_a_format_without_a_peak_nothing_is_said() -> None:
    layers = [conv("a", [4] * 5, "image", 1_000_000), conv("b", [4] * 5, "a", 1_000_000, "bf16")]
    found = summarise(Profiled(layers, ["b"]), two_turns())
    assert found["convolutions"]["of_peak"] is None
    assert {one["format"]: one["of_peak"] for one in found["shapes"]} == {"fp32": pytest.approx(0.25), "bf16": None}
    without = summarise(Profiled(layers, ["b"]), [Turn(range(1, 5), {})])
    assert without["convolutions"]["of_peak"] is None and without["peak"] == {}
