"""Two runs against each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.detection.average_precision import summarize
from stages.detection.matching import Detections, Matches, Truth, match
from stages.report import compare_runs
from tests.stages.detection.coco_sets import random_set


def row(runtime: list[float], score: float | None, **more: Any) -> dict[str, Any]:
    median = float(np.median(runtime)) if runtime else 0.0
    latency = {"median_ms": median, "rounds_ms": runtime} if runtime else None
    return {
        "backend": "onnxruntime", "precision": "int8", "latency": {"runtime": latency, "end2end": None},
        "speedup": {"runtime": None}, "speedup_interval": {"runtime": None},
        "validity": {"runtime": "valid", "end2end": None}, "map": score, "matches": None, **more,
    }  # fmt: skip


def report(*rows: dict[str, Any], run_id: str = "20260101-080000-a", **more: Any) -> Any:
    return {"rows": list(rows), "run_id": run_id, "hardware": "cpu", **more}


def changes(
    first: dict[str, Any], second: dict[str, Any], load: compare_runs.Load = lambda row: None
) -> dict[str, Any]:
    found = compare_runs.compare(report(first), report(second), load)
    for line in compare_runs.table(found).rows:
        assert len(line) == 7
    return {c["what"]: c for c in found}


def rounds(ms: float, seed: int, noise: float = 0.01) -> list[float]:
    return (ms * (1 + noise * np.random.default_rng(seed).standard_normal(10))).tolist()


def test_a_planted_slowdown_of_five_percent_is_found_and_noise_is_not() -> None:
    found = 0
    for seed in range(20):
        same = changes(row(rounds(10, seed), None), row(rounds(10, seed + 100), None))["runtime"]
        slow = changes(row(rounds(10, seed), None), row(rounds(10.5, seed + 100), None))["runtime"]
        assert slow["verdict"] == "slower" and slow["change"] == pytest.approx(1.05, abs=0.02)
        found += same["verdict"] != "no difference shown"
    assert found <= 3  # a 95 % interval is wrong once in twenty


def test_one_round_gives_a_ratio_without_interval() -> None:
    told = changes(row([10.0], None), row([5.0], None))["runtime"]
    assert (told["change"], told["low"], told["verdict"]) == (0.5, None, None)
    exact = changes(row([10.0] * 3, None), row([5.0] * 3, None))["runtime"]
    assert (exact["low"], exact["high"], exact["verdict"]) == (0.5, 0.5, "faster")


def test_speedups_that_overlap_show_no_difference() -> None:
    def fast(ratio: float, low: float, high: float) -> dict[str, Any]:
        return row([], None, speedup={"runtime": ratio}, speedup_interval={"runtime": [low, high]})

    near = changes(fast(3.0, 2.9, 3.1), fast(3.05, 2.95, 3.15))["speedup"]
    assert near["verdict"] == "no difference shown" and near["low"] < 1 < near["high"]
    assert changes(fast(3.0, 2.95, 3.05), fast(2.5, 2.45, 2.55))["speedup"]["verdict"] == "lower"


def test_invalid_timings_are_marked() -> None:
    bad = row([10.0] * 3, None, validity={"runtime": "invalid: drift between rounds (20%)", "end2end": None})
    found = compare_runs.compare(report(row([10.0] * 3, None)), report(bad), lambda row: None)
    assert found[0]["valid"] is False
    assert compare_runs.table(found).rows[0][4] == "1.000×*"
    assert found[0]["verdict"] == "not comparable: timing disturbed"


def test_a_ratio_is_compared_by_its_own_verdict() -> None:
    def fast(ratio: float, verdict: str, own: str = "valid") -> dict[str, Any]:
        return row(
            [10.0, 10.0], None, speedup={"runtime": ratio}, speedup_interval={"runtime": [ratio - 0.1, ratio + 0.1]},
            speedup_validity={"runtime": verdict}, validity={"runtime": own, "end2end": None},
            over_float={"runtime": {"against": "fp32", "median": ratio, "low": ratio - 0.1, "high": ratio + 0.1,
                                    "verdict": verdict}},
        )  # fmt: skip

    shared = "invalid: CPU shared with the load of other processes (50% of its time)"
    found = changes(fast(3.0, "valid"), fast(2.0, "valid", shared))
    assert found["speedup"]["verdict"] == found["over_float"]["verdict"] == "lower" and found["speedup"]["valid"]
    assert found["runtime"]["verdict"] == "not comparable: timing disturbed"
    found = changes(fast(3.0, "valid"), fast(2.0, "invalid: other processes held up one engine more than the other"))
    assert found["speedup"]["verdict"] == found["over_float"]["verdict"] == "not comparable: timing disturbed"
    assert not found["speedup"]["valid"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"hardware": "another"}, "another machine"),
        ({"run_id": "20260102-080000-b"}, "another day"),
        ({"timed_in": {"latency.onnxruntime": "20251230-080000-b"}}, "another day"),
    ],
)
def test_of_two_machines_or_two_days_only_ratios_are_compared(more: dict[str, Any], why: str) -> None:
    fast = row([10.0] * 3, None, speedup={"runtime": 3.0}, speedup_interval={"runtime": [2.9, 3.1]})
    slow = row([12.0] * 3, None, speedup={"runtime": 2.0}, speedup_interval={"runtime": [1.9, 2.1]})
    found = compare_runs.compare(report(fast), report(slow, **more), lambda row: None)
    assert [c["verdict"] for c in found] == [f"not comparable: {why}, see the speed-up", "lower"]
    same = compare_runs.compare(report(fast), report(slow, run_id="20260101-200000-b"), lambda row: None)
    assert [c["verdict"] for c in same] == ["slower", "lower"]


def test_map_is_compared_on_the_same_images(tmp_path: Path) -> None:
    coco, results = random_set(3)
    truth = Truth.from_coco(coco)
    found = Detections.from_coco(results, truth)
    worse = replace(found, box=found.box + np.array([15.0, 0, 0, 0]))
    both = [match(truth, d) for d in (found, worse)]
    rows = []
    for i, matches in enumerate(both):
        folder = tmp_path / "accuracy" / str(i) / "files"
        folder.mkdir(parents=True)
        matches.save(folder / "matches.npz")
        rows.append(row([], 100 * summarize(matches)["AP"], matches=f"accuracy/{i}"))
    told = changes(rows[0], rows[1], compare_runs.stored(tmp_path))["map"]
    assert told["verdict"] == "lower" and told["low"] <= told["change"] <= told["high"] < 0
    (tmp_path / "accuracy" / "1" / "files" / "matches.npz").unlink()  # the store was cleaned
    told = changes(rows[0], rows[1], compare_runs.stored(tmp_path))["map"]
    assert told["change"] < 0 and told["low"] is None and told["verdict"] is None


def test_only_engines_that_both_have_are_compared() -> None:
    other = row([10.0], 50.0, backend="openvino")
    assert compare_runs.compare(report(row([10.0], 50.0)), report(other), lambda row: None) == []


def test_matches_of_other_images_are_not_paired() -> None:
    coco, results = random_set(3)
    truth = Truth.from_coco(coco)
    one = match(truth, Detections.from_coco(results, truth))
    loads = iter([one, replace(one, image_ids=one.image_ids + 1)])

    def load(row: dict[str, Any]) -> Matches:
        return next(loads)

    assert changes(row([], 50.0), row([], 51.0), load)["map"]["low"] is None
