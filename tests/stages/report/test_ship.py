"""Which engine to ship, and the gate that an INT8 engine has to pass: it has to be worth more than a float one."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.artifacts import LatencyResult, hash_files
from stages.latency.speedups import over_best_float, over_fp32
from stages.latency.timing import Round, Series, speedup, summary
from stages.options.gate import GateOptions
from stages.report.gates import evaluate_gates, holds
from stages.report.rows import build_rows
from stages.report.schema import Row, Ship
from stages.report.ship import choose_ship

ROUNDS, RUNS = 10, 20


def measured(rng: np.random.Generator, **medians: float) -> dict[tuple[str, str], Series]:
    """Rounds as a machine gives them whose speed drifts by a fifth: each round slows all engines, runs vary by 3 %."""
    drift = rng.uniform(0.9, 1.1, ROUNDS)
    task: Any = SimpleNamespace(name="x")
    return {
        (name, "runtime"): Series(task, [Round((1e-3 * ms * d * rng.normal(1, 0.03, RUNS)).tolist()) for d in drift])
        for name, ms in medians.items()
    }


def rows_of(folder: Path, seed: int, backend: str = "openvino", **medians: float) -> list[Row]:
    """The report's rows of timings of these medians, in milliseconds."""
    series = measured(np.random.default_rng(seed), **medians)
    engines = {
        name: {
            "runtime": {
                **summary(own.all()),
                "rounds_ms": [1e3 * float(np.median(part)) for part in own.samples],
                "validity": {"verdict": "valid", "cells": {}},
            }
        }
        for (name, _), own in series.items()
    }
    content = {
        "engines": engines,
        "over_fp32": over_fp32(series, speedup),
        "over_best_float": over_best_float(series, speedup),
    }
    own = folder / f"{backend}-{seed}"
    own.mkdir()
    (own / "latency.json").write_text(json.dumps(content))
    return build_rows([], [LatencyResult(root=own, files=hash_files(own), backend=backend)], [], [], [], "CPU")


def test_a_disturbed_comparison_with_int8_is_none_to_rely_on(tmp_path: Path) -> None:
    """The engine's own speed-up may be valid where the ratio that kept INT8 back is not."""
    rows = rows_of(tmp_path, 0, fp32=100, bf16=50, int8=50.5)
    for row in rows:
        row["validity"]["runtime"] = "invalid: drift between rounds (81%)"
    calm = shipped(rows)["sentence"]
    assert calm.endswith("The milliseconds were measured while disturbed; the ratios can be relied on.")
    over = {row["precision"]: row for row in rows}["int8"].get("over_float", {})["runtime"]
    assert over is not None
    over["verdict"] = "invalid: other processes held up one engine more than the other (0.98 and 1.09)"
    said = shipped(rows)["sentence"]
    assert "the ratios can be relied on" not in said
    assert said.endswith("How INT8 compares was measured while disturbed, so measure again before you rely on it.")


GATE = GateOptions(min_speedup=1.5, min_speedup_over_float=1.02)


@pytest.mark.parametrize("seed", range(20))
def test_an_int8_engine_that_is_no_faster_than_bf16_is_caught_every_time(seed: int, tmp_path: Path) -> None:
    planted = rows_of(tmp_path, seed, fp32=100, bf16=50, int8=50.5)
    over_fp32, over_float = evaluate_gates(planted, GATE)
    assert over_fp32["verdict"] == "pass"  # twice as fast as FP32: all that one would have been told
    # 0.99 is below 1.02; where the interval reaches up to it, only more rounds could tell.
    reaches = over_float["reason"] is not None and "holds the limit" in over_float["reason"]
    assert over_float["verdict"] == ("undecided" if reaches else "fail") and not holds(over_float)
    ship = choose_ship(planted)
    assert ship is not None and ship["precision"] == "bf16"
    assert "No INT8 engine is faster with certainty: openvino INT8 has" in ship["sentence"]


@pytest.mark.parametrize("seed", range(20))
def test_an_int8_engine_that_is_faster_passes(seed: int, tmp_path: Path) -> None:
    rows = rows_of(tmp_path, seed, fp32=100, bf16=50, int8=30)
    gates = evaluate_gates(rows, GATE)
    assert [g["verdict"] for g in gates] == ["pass", "pass"] and gates[1]["of"].endswith("over BF16")
    ship = shipped(rows)
    assert ship["precision"] == "int8" and ship["over_best_float"] is not None
    assert ship["over_best_float"]["against"] == "openvino BF16"
    assert 1.5 < ship["over_best_float"]["median"] < 1.8


def shipped(rows: list[Row], max_drop: float | None = None) -> Ship:
    found = choose_ship(rows, max_drop)
    assert found is not None
    return found


def test_gates_concern_int8_engines_and_floats_only_where_there_is_nothing_else(tmp_path: Path) -> None:
    both = rows_of(tmp_path, 0, fp32=100, bf16=50, int8=30)
    assert {g["precision"] for g in evaluate_gates(both, GATE)} == {"int8"}
    assert {g["precision"] for g in evaluate_gates(both[:2], GATE)} == {"bf16"}


def test_all_backends_are_compared(tmp_path: Path) -> None:
    one = rows_of(tmp_path, 0, "onnxruntime", fp32=90, int8=40)
    two = rows_of(tmp_path, 1, "openvino", fp32=100, bf16=38, int8=45)
    ship = shipped([*one, *two])
    assert (ship["backend"], ship["precision"]) == ("openvino", "bf16")  # 40 is faster than FP32 only
    assert "onnxruntime INT8 has 0.9" in ship["sentence"]
    faster = rows_of(tmp_path, 2, "paddle_inference", fp32=100, int8=20)
    ship = shipped([*one, *two, *faster])
    assert (ship["backend"], ship["precision"]) == ("paddle_inference", "int8")
    over = ship["over_best_float"]
    assert over is not None and over["against"] == "openvino BF16" and over["low"] is not None and over["low"] > 1


def test_an_engine_that_loses_too_much_or_disagrees_is_passed_over(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, 0, fp32=100, bf16=50, int8=30)
    by = {row["precision"]: row for row in rows}
    by["int8"]["difference"] = {"map": {"value": -0.5, "low": -1.4, "high": 0.2}}
    by["int8"]["map"] = 50.0
    assert shipped(rows)["precision"] == "bf16"
    assert "its mAP may be 1.4 points below FP32's (at most 1)" in shipped(rows)["sentence"]
    assert shipped(rows, max_drop=2.0)["precision"] == "int8"
    assert "mAP 50.0, at most 1.4 points below FP32" in shipped(rows, max_drop=2.0)["sentence"]
    by["bf16"]["status"], by["bf16"]["error"] = "failed", "it disagrees with the reference\nsee the log"
    assert shipped(rows)["precision"] == "fp32"
    assert "openvino BF16 is left out: it disagrees with the reference." in shipped(rows)["sentence"]


def test_where_there_is_no_choice_nothing_is_said(tmp_path: Path) -> None:
    assert choose_ship(rows_of(tmp_path, 0, fp32=100)) is None
    assert choose_ship([]) is None


def test_without_an_interval_nothing_is_certain(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, 0, fp32=100, int8=30)
    over = rows[1].get("over_float", {})["runtime"]
    assert over is not None
    over["low"] = over["high"] = None
    assert shipped(rows)["precision"] == "fp32" and "INT8 has 3.3" in shipped(rows)["sentence"]
