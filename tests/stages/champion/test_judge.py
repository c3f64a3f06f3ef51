"""A challenger is judged beside FP32 and beside the champion, each gate by its own numbers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from stages.artifacts import AccuracyResult, Comparison, Engine, LatencyResult, Precision, hash_files
from stages.champion import promotion
from stages.champion.judge import Judge, JudgeInputs
from stages.errors import StageError
from stages.options.champion import JudgeOptions
from stages.options.gate import GateOptions
from tests.fakes import FakeContext

NAMES = ["fp32", "champion", "challenger"]


def written(folder: Path, **files: object) -> dict[str, Any]:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return {"root": folder, "files": hash_files(folder)}


def engine(folder: Path, precision: Precision, size: int) -> Engine:
    made = written(folder, model="x" * size)
    return Engine(
        **made,
        backend="b",
        precision=precision,
        main="model.json",
        input_size=[64, 64],
        batch=1,
        scale_factor=False,
        image_input="image",
        scale_input="",
        boxes_output="boxes",
        scores_output="scores",
        notes={"audit": {"int8_share": 0.95}},
    )


def speedup(median: float) -> dict[str, Any]:
    told = {"median": median, "low": median - 0.05, "high": median + 0.05, "rounds": [median]}
    return {"runtime": told, "end2end": told}


def inputs(folder: Path, *, beside: float = 1.0, drop: float = 0.5) -> JudgeInputs:
    """FP32, a champion and a challenger; ``beside``: its speed-up to the champion, ``drop``: its loss to it, points."""
    valid = {"verdict": "valid"}

    def timed(ms: float) -> dict[str, Any]:
        mode = {"median_ms": ms, "validity": valid}
        return {"cold_start": {"load_s": 1.0}, "runtime": mode, "end2end": mode, "memory": {"peak_mb": 1.0}}

    latency = {
        "engines": {"fp32": timed(30.0), "champion": timed(10.0), "challenger": timed(10.0 / beside)},
        "speedup": speedup(3.0 * beside),
        "against": {"fp32": speedup(3.0 * beside), "champion": speedup(beside)},
    }
    precisions = [Precision.FP32, Precision.INT8, Precision.INT8]
    scores = [50.0, 49.5, 49.5 - drop]
    comparisons = [
        {"difference": {"map": {"value": -d, "low": -d - 0.5, "high": 0.5 - d}}, "per_class": []}
        for d in (0.5 + drop, drop)
    ]
    return JudgeInputs(
        engines=[engine(folder / f"e{i}", p, 100) for i, p in enumerate(precisions)],
        latency=LatencyResult(**written(folder / "l", latency=latency), backend="b"),
        accuracies=[
            AccuracyResult(**written(folder / f"a{i}", accuracy={"map": s, "map50": s, "map75": s}),
                           backend="b", precision=p)
            for i, (p, s) in enumerate(zip(precisions, scores, strict=True))
        ],
        comparisons=[
            Comparison(**written(folder / f"c{i}", compare=c), backend="b", base=p, other=Precision.INT8)
            for i, (c, p) in enumerate(zip(comparisons, precisions, strict=False))
        ],
    )  # fmt: skip


def judged(folder: Path, given: JudgeInputs, gate: GateOptions, names: list[str]) -> dict[str, Any]:
    context = FakeContext(folder / "judge")
    champion = {"version": "4", "run_id": "r4"} if "champion" in names else {}
    options = JudgeOptions(gate=gate, names=names, run_id="r5", champion=champion, hardware="h")
    made = Judge(options).run(given, context)
    content: dict[str, Any] = json.loads(made.path("promotion.json").read_text())
    assert made.passed is content["passed"]
    assert context.value("promotion.passed") == float(made.passed)
    return content


def test_one_as_good_passes(tmp_path: Path) -> None:
    gate = GateOptions(max_map_drop=2.0, min_speedup=2.0)
    content = judged(tmp_path, inputs(tmp_path), gate, NAMES)
    assert content["passed"] and content["failed"] == []
    names = [g["gate"] for g in content["gates"]]
    assert names == ["max_map_drop", "min_speedup", "champion.max_map_drop", "champion.min_speedup"]
    assert content["engines"]["champion"]["map"] == 49.5 and content["beside"]["size"] == 1.0
    assert "champion version 4" in (tmp_path / "judge" / "out" / "promotion.md").read_text()


@pytest.mark.parametrize(
    ("change", "gate", "failed"),
    [
        ({"drop": 1.6}, GateOptions(), "champion.max_map_drop"),  # 1.6, but up to 2.1 by its interval
        ({"beside": 0.8}, GateOptions(), "champion.min_speedup"),
        ({"drop": 0.0}, GateOptions(max_map_drop=0.9), "max_map_drop"),  # as the champion, too far from FP32
        ({}, GateOptions(min_speedup=3.1), "min_speedup"),
    ],
)
def test_the_failing_gate_is_named(tmp_path: Path, change: dict[str, float], gate: GateOptions, failed: str) -> None:
    content = judged(tmp_path, inputs(tmp_path, **change), gate, NAMES)
    assert not content["passed"] and content["failed"] == [failed]
    assert f"A gate does not hold: {failed} is" in (tmp_path / "judge" / "out" / "promotion.md").read_text()


def test_a_gate_whose_interval_holds_the_limit_is_undecided(tmp_path: Path) -> None:
    content = judged(tmp_path, inputs(tmp_path, beside=0.9), GateOptions(), NAMES)
    assert not content["passed"] and (content["failed"], content["undecided"]) == ([], ["champion.min_speedup"])
    text = (tmp_path / "judge" / "out" / "promotion.md").read_text()
    assert "A gate is undecided: champion.min_speedup is 0.85, at least 0.9 (lower bound of the speed-up; its" in text
    assert promotion.in_short(content) == "undecided: champion.min_speedup" and not promotion.disturbed(content)


HELD_UP = "invalid: other processes held up one engine more than the other (0.80 by the clock, 1.00 by processor time)"
SHARED = "invalid: CPU shared with the load of other processes (77% of its time)"


def disturb(given: JudgeInputs, folder: Path, ratio: str) -> JudgeInputs:
    """The same with times that are not valid, and this verdict on the challenger against the champion."""
    latency = json.loads(given.latency.path("latency.json").read_text())
    for found in latency["engines"].values():
        found["runtime"]["validity"] = {"verdict": SHARED}
    latency["against"]["champion"]["runtime"] = {**latency["against"]["champion"]["runtime"], "verdict": ratio}
    return dataclasses.replace(given, latency=LatencyResult(**written(folder, latency=latency), backend="b"))


def test_a_ratio_that_is_valid_is_judged_although_the_times_are_not(tmp_path: Path) -> None:
    content = judged(tmp_path, disturb(inputs(tmp_path), tmp_path / "d", "valid"), GateOptions(), NAMES)
    assert content["passed"] and content["beside"]["runtime"]["verdict"] == "valid"
    assert content["engines"]["challenger"]["validity"]["runtime"] == SHARED
    text = (tmp_path / "judge" / "out" / "promotion.md").read_text()
    assert "10.00*" in text and "times as fast as the champion\n" in text


def test_what_is_undecided_while_both_times_are_disturbed_is_to_be_measured_again(tmp_path: Path) -> None:
    given = disturb(inputs(tmp_path, beside=0.9), tmp_path / "d", "valid")
    content = judged(tmp_path, given, GateOptions(), NAMES)
    assert content["undecided"] == ["champion.min_speedup"] and promotion.disturbed(content)
    failed = judged(tmp_path / "f", disturb(inputs(tmp_path / "g", beside=0.8), tmp_path / "e", "valid"),
                    GateOptions(), NAMES)  # fmt: skip
    assert failed["failed"] == ["champion.min_speedup"] and not promotion.disturbed(failed)


def test_a_disturbed_ratio_is_not_judged_and_the_evidence_says_why(tmp_path: Path) -> None:
    given = disturb(inputs(tmp_path), tmp_path / "d", HELD_UP)
    content = judged(tmp_path, given, GateOptions(require_valid=True), NAMES)
    assert not content["passed"] and content["failed"] == [] and content["not_judged"] == ["champion.min_speedup"]
    assert promotion.disturbed(content) and promotion.in_short(content) == "not judged: champion.min_speedup"
    text = (tmp_path / "judge" / "out" / "promotion.md").read_text()
    assert "A gate could not be judged: champion.min_speedup is 0.95" in text
    assert "as fast as the champion (measured while disturbed: other processes held up one engine" in text


def test_what_was_accepted_is_written_down(tmp_path: Path) -> None:
    given = disturb(inputs(tmp_path), tmp_path / "d", HELD_UP)
    content = judged(tmp_path, given, GateOptions(accept_disturbed=True), NAMES)
    assert content["passed"] and content["accepted_disturbed"] == ["champion.min_speedup"]
    text = (tmp_path / "judge" / "out" / "promotion.md").read_text()
    assert "Judged by a disturbed timing, as gate.accept_disturbed=true asks: champion.min_speedup." in text
    more = judged(tmp_path / "more", disturb(inputs(tmp_path / "m"), tmp_path / "e", HELD_UP),
                  GateOptions(max_map_drop=0.1), NAMES)  # fmt: skip
    assert not promotion.disturbed(more)  # measuring again would not help


def test_without_labels_the_gates_on_map_fail_as_not_measured(tmp_path: Path) -> None:
    given = dataclasses.replace(inputs(tmp_path), accuracies=[], comparisons=[])
    content = judged(tmp_path, given, GateOptions(), NAMES)
    assert content["failed"] == ["champion.max_map_drop"]
    assert content["gates"][0]["reason"] == "not measured"


def test_without_a_champion_fp32_alone_is_the_measure(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    latency = json.loads(given.latency.path("latency.json").read_text())
    engines = {"fp32": latency["engines"]["fp32"], "int8": latency["engines"]["challenger"]}
    plain = {"engines": engines, "speedup": latency["speedup"]}
    first = dataclasses.replace(
        given,
        engines=[given.engines[0], given.engines[2]],
        latency=LatencyResult(**written(tmp_path / "plain", latency=plain), backend="b"),
        accuracies=[given.accuracies[0], given.accuracies[2]],
        comparisons=given.comparisons[:1],
    )
    content = judged(tmp_path, first, GateOptions(max_map_drop=2.0, min_speedup=2.0), ["fp32", "int8"])
    assert content["passed"] and content["beside"] == {} and len(content["gates"]) == 2


def test_names_and_engines_have_to_agree(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="3 engines"):
        Judge(JudgeOptions(names=["fp32"])).run(inputs(tmp_path), FakeContext(tmp_path / "judge"))
