"""Speed-ups over FP32 and over the fastest float engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stages.latency.speedups import over_best_float, over_fp32
from stages.latency.timing import Round, Series, speedup


def series(*rounds: float) -> Series:
    """Rounds of three runs each, in milliseconds."""
    task: Any = SimpleNamespace(name="x")
    return Series(task, [Round([ms * 1e-3] * 3) for ms in rounds])


TIMINGS = {
    ("fp32", "runtime"): series(100, 110),
    ("bf16", "runtime"): series(50, 55),
    ("int8", "runtime"): series(40, 44),
    ("fp32", "end2end"): series(120, 120),
    ("bf16", "end2end"): series(130, 130),
    ("int8", "end2end"): series(60, 60),
}


def test_each_other_variant_is_compared_with_fp32() -> None:
    found = over_fp32(TIMINGS, speedup)
    assert set(found) == {"bf16", "int8"}
    assert found["int8"]["runtime"]["median"] == pytest.approx(2.5)
    assert found["bf16"]["runtime"]["low"] == pytest.approx(2.0)  # both rounds have the same ratio
    assert found["bf16"]["end2end"]["median"] == pytest.approx(12 / 13)


def test_the_fastest_float_engine_is_found_for_each_mode() -> None:
    found = over_best_float(TIMINGS, speedup)
    assert found["int8"]["runtime"]["against"] == "bf16" and found["int8"]["end2end"]["against"] == "fp32"
    assert found["int8"]["runtime"]["median"] == pytest.approx(1.25)
    assert found["fp32"]["runtime"]["median"] == pytest.approx(0.5)
    assert "runtime" not in found["bf16"] and "end2end" not in found["fp32"]


def test_without_fp32_or_without_any_float_engine() -> None:
    alone = {("int8", "runtime"): series(1)}
    assert over_fp32(alone, speedup) == over_best_float(alone, speedup) == {}
    beside = {("champion", "runtime"): series(2), ("fp32", "runtime"): series(4)}
    assert over_best_float(beside, speedup)["champion"]["runtime"]["against"] == "fp32"
