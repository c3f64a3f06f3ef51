"""What beats what with certainty, and the intervals it is judged by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from stages.report.intervals import dominated, faster, more_accurate, of_median


def row(precision: str, ms: float, score: float | None, *, change: tuple[float, float] | None = None,
        backend: str = "b", noise: float = 0.0, seed: int = 0) -> Any:  # fmt: skip
    rounds = (ms * (1 + noise * np.random.default_rng(seed).standard_normal(10))).tolist()
    value = None if change is None else sum(change) / 2
    return {
        "backend": backend, "precision": precision,
        "latency": {"runtime": {"median_ms": ms, "rounds_ms": rounds}, "end2end": None},
        "speedup": {"runtime": None}, "speedup_interval": {"runtime": None}, "over_float": {},
        "map": score, "map_drop": None,
        "difference": {} if change is None else {"map": {"value": value, "low": change[0], "high": change[1]}},
    }  # fmt: skip


def test_the_interval_of_a_median_is_students_on_the_logarithms() -> None:
    low, high = of_median(row("fp32", 10, 50, noise=0.05)["latency"]["runtime"]) or (0, 0)
    rounds = np.log(row("fp32", 10, 50, noise=0.05)["latency"]["runtime"]["rounds_ms"])
    half = 2.262157 * rounds.std(ddof=1) / math.sqrt(10)  # t of 9 degrees of freedom, from a table
    assert (low, high) == (pytest.approx(10 / math.exp(half), rel=1e-4), pytest.approx(10 * math.exp(half), rel=1e-4))
    assert of_median({"median_ms": 10.0, "rounds_ms": [10.0]}) is None  # type: ignore[typeddict-item]


def test_widths_of_two_changes_add_in_squares() -> None:
    one, other = row("int8", 10, 50, change=(-0.4, 0.2)), row("bf16", 10, 51, change=(0.5, 1.5))
    found = more_accurate(other, one)
    assert found is not None and found["median"] == 1
    assert found["low"] == pytest.approx(1 - math.hypot(0.5, 0.3)) and found["high"] == pytest.approx(
        1 + math.hypot(0.5, 0.3)
    )
    assert more_accurate(row("fp32", 1, 50), row("fp32", 1, 49, backend="c")) == {
        "median": 1, "low": None, "high": None,
    }  # fmt: skip


def test_a_faster_engine_dominates_only_with_certainty_and_without_a_loss() -> None:
    slow, quick = row("fp32", 20, 50), row("int8", 10, 50.0, change=(-0.1, 0.1))
    assert dominated([slow, quick]) == {"b FP32": "b INT8"}
    worse = row("int8", 10, 49.9, change=(-0.3, 0.1))
    assert dominated([slow, worse]) == {}  # faster, but it may have lost accuracy
    noisy = row("int8", 19, 50.0, change=(-0.1, 0.1), noise=0.3, seed=3)
    assert dominated([row("fp32", 20, 50, noise=0.3), noisy]) == {}  # the difference may be chance
    assert faster(quick, {**slow, "latency": {"runtime": None, "end2end": None}}) is None


def test_a_more_accurate_engine_of_the_same_speed_dominates() -> None:
    same = [row("int8", 10, 48.0, change=(-2.5, -1.5)), row("bf16", 10, 50.0, change=(-0.2, 0.2))]
    assert dominated(same) == {"b INT8": "b BF16"}
