"""Gates on speed: judged by the verdict of what they look at, and decided only where the interval is."""

from __future__ import annotations

from typing import Any

import pytest

from stages.options.gate import ChampionGateOptions, GateOptions
from stages.report.gates import evaluate_gates, holds, judge_beside, tally
from stages.report.rows import build_rows
from stages.report.schema import GateVerdict, Row

SHARED = "invalid: CPU shared with the load of other processes (77% of its time)"
HELD_UP = "invalid: other processes held up one engine more than the other (1.20 by the clock, 1.00 by processor time)"


def row(*, times: str = "valid", ratio: str = "valid", low: float = 1.8, high: float = 2.2) -> Row:
    """An INT8 engine of 10 ms, twice as fast as FP32."""
    (made,) = build_rows([], [], [], [], [{"stage": "x", "backend": "b", "precision": "int8"}], "CPU")
    latency: Any = {"median_ms": 10.0}
    for mode in ("runtime", "end2end"):
        made["latency"][mode], made["validity"][mode] = latency, times
        made["speedup"][mode], made["speedup_interval"][mode] = 2.0, [low, high]
        made["speedup_validity"][mode] = ratio
        made["over_float"][mode] = {"against": "bf16", "median": 2.0, "low": low, "high": high, "verdict": ratio}
    return made


def judge(made: Row, **options: Any) -> GateVerdict:
    (found,) = evaluate_gates([made], GateOptions(**options))
    return found


RATIOS = ("min_speedup", "min_end2end_speedup", "min_speedup_over_float")


@pytest.mark.parametrize("gate", RATIOS)
def test_a_gate_on_a_ratio_looks_at_the_ratios_verdict_and_not_at_the_times(gate: str) -> None:
    assert judge(row(times=SHARED), **{gate: 1.5})["verdict"] == "pass"
    assert judge(row(times=SHARED), **{gate: 2.5})["verdict"] == "fail"
    for limit in (1.5, 2.0, 2.5):
        found = judge(row(ratio=HELD_UP), **{gate: limit})
        assert found["verdict"] == "not judged" and found["reason"] == f"timing {HELD_UP}" and not holds(found)
        assert found["value"] == 1.8 and found["margin"] == pytest.approx(1.8 - limit)


@pytest.mark.parametrize("gate", ["max_latency_ms", "max_end2end_ms"])
def test_a_gate_on_milliseconds_looks_at_the_times(gate: str) -> None:
    assert judge(row(ratio=HELD_UP), **{gate: 12.0})["verdict"] == "pass"
    assert judge(row(times=SHARED), **{gate: 12.0})["verdict"] == "not judged"


@pytest.mark.parametrize("gate", RATIOS)
@pytest.mark.parametrize(("limit", "verdict"), [(1.8, "pass"), (1.81, "undecided"), (2.2, "undecided"), (2.21, "fail")])
def test_a_limit_within_the_interval_is_undecided(gate: str, limit: float, verdict: str) -> None:
    found = judge(row(), **{gate: limit})
    assert found["verdict"] == verdict and holds(found) is (verdict == "pass")
    assert (found["reason"] or "").startswith("its interval, 1.8 to 2.2, holds") is (verdict == "undecided")


def test_disturbed_timings_are_accepted_only_where_that_is_asked_for_and_it_is_written_down() -> None:
    found = judge(row(ratio=HELD_UP), min_speedup=1.5, accept_disturbed=True)
    assert found["verdict"] == "pass" and holds(found)
    assert found["reason"] == f"timing {HELD_UP}; accepted (gate.accept_disturbed=true)"
    assert judge(row(ratio=HELD_UP), min_speedup=2.5, accept_disturbed=True)["verdict"] == "fail"
    assert judge(row(ratio=HELD_UP), min_speedup=1.5, require_valid=True)["verdict"] == "fail"


def test_beside_the_champion_the_ratio_to_it_decides() -> None:
    options = GateOptions(champion=ChampionGateOptions(max_map_drop=None, min_speedup=0.9))
    made: Any = {**row(times=SHARED), "size_ratio": 1.0}
    assert [g["verdict"] for g in judge_beside(made, options)] == ["pass"]
    made["speedup_validity"] = {"runtime": HELD_UP, "end2end": "valid"}
    assert [(g["gate"], g["verdict"]) for g in judge_beside(made, options)] == [("champion.min_speedup", "not judged")]


def test_reports_of_before_ratios_had_verdicts_are_judged_by_their_times() -> None:
    made = row(times=SHARED)
    del made["speedup_validity"]
    assert judge(made, min_speedup=1.5)["verdict"] == "not judged"


def test_what_does_not_hold_is_counted() -> None:
    def gates(*verdicts: str) -> list[Any]:
        return [{"verdict": verdict} for verdict in verdicts]

    assert tally(gates("pass", "left out")) == ""
    assert tally(gates("fail", "pass", "not judged", "undecided", "fail")) == (
        "2 of 5 gates fail, 1 of 5 undecided, 1 of 5 not judged"
    )
