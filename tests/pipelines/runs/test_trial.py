"""A trial: when it ends, and what it answers."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from pipelines.execution.results import Results
from pipelines.execution.runner import Node
from pipelines.runs import trial
from pipelines.runs.trial import COMPLETE, FAILED, PRUNED, Asked, Measured, Watch
from stages.artifacts import AccuracyResult, Engine, LatencyResult, Precision, hash_files
from stages.errors import InputError
from tests.pipelines.drawn_runs import DISTURBED, report

PLANNED = {"onnxruntime": ["fp32", "int8"]}


def written(folder: Path, name: str, content: dict[str, Any]) -> dict[str, Any]:
    folder.mkdir(parents=True)
    (folder / name).write_text(json.dumps(content))
    return {"root": folder, "files": hash_files(folder), "backend": "onnxruntime"}


def accuracy(folder: Path, precision: str, score: float) -> AccuracyResult:
    content = {"map": score, "map50": score, "map75": score}
    return AccuracyResult(precision=precision, **written(folder / precision, "accuracy.json", content))


def latency(folder: Path, verdict: str = "valid") -> LatencyResult:
    timed = {"median_ms": 10.0, "rounds_ms": [9.9, 10.0, 10.1], "validity": {"verdict": verdict}}
    ratio = {"median": 1.2, "low": 1.1, "high": 1.3, "verdict": verdict}
    engines = {name: {"runtime": timed, "end2end": None} for name in ("fp32", "int8")}
    content = {"engines": engines, "over_fp32": {"int8": {"runtime": ratio}}}
    return LatencyResult(**written(folder / f"latency-{verdict[:5]}", "latency.json", content))


def engine(folder: Path, size: int) -> Engine:
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"x" * size)
    return Engine(
        root=folder, files=hash_files(folder), backend="onnxruntime", precision=Precision.INT8, main="model.onnx",
        input_size=[32, 32], batch=1, scale_factor=True, image_input="", scale_input="", boxes_output="",
        scores_output="",
    )  # fmt: skip


def test_a_trial_ends_at_the_first_result_that_breaks_a_limit(tmp_path: Path) -> None:
    watch, results = Watch(Asked(["speedup", "drop"], {"drop": 0.5}), PLANNED), Results()
    results.artifacts["accuracy.onnxruntime.int8"] = accuracy(tmp_path, "int8", 48.0)
    assert not watch(results)  # of a drop nothing is known yet
    results.artifacts["accuracy.onnxruntime.fp32"] = accuracy(tmp_path, "fp32", 48.6)
    assert watch(results) and watch.broken == "mAP drop 0.60 is above the limit 0.5"
    assert watch.values["drop"] == pytest.approx(0.6)


def test_a_disturbed_timing_breaks_no_limit(tmp_path: Path) -> None:
    asked, results = Asked(["speedup"], {"speedup": 1.5}), Results()
    results.artifacts["latency.onnxruntime"] = latency(tmp_path, DISTURBED)
    assert not Watch(asked, PLANNED)(results)
    results.artifacts["latency.onnxruntime"] = latency(tmp_path)
    watch = Watch(asked, PLANNED)
    assert watch(results) and watch.broken == "Speed-up 1.20 is below the limit 1.5"
    assert Watch(Asked(["latency"], {"latency": 9.0}), PLANNED)(results)
    assert not Watch(Asked(["latency"], {"latency": 10.0}), PLANNED)(results)  # the limit itself holds


def test_the_size_is_known_from_the_engine_on_and_that_of_fp32_is_not_meant(tmp_path: Path) -> None:
    asked, results = Asked(["size"], {"size": 1.0}), Results()
    results.artifacts["build.onnxruntime.int8"] = engine(tmp_path / "engine", 1_200_000)
    assert Watch(asked, PLANNED)(results)
    assert not Watch(Asked(["size"], {"size": 1.0}, precision="fp32"), PLANNED)(results)
    assert not Watch(Asked(["size"], {"size": 1.0}, backend="openvino"), {**PLANNED, "openvino": ["int8"]})(results)


def test_timings_come_last_where_a_limit_is_on_accuracy() -> None:
    nodes = [
        Node(id=name, stage="x", options=None, timed=name == "latency") for name in ("build", "latency", "accuracy")
    ]

    def order(**limits: float) -> list[str]:
        return [node.id for node in trial.cheapest_first(nodes, Asked([], limits))]

    assert order(drop=1.0) == order(map=40.0) == ["build", "accuracy", "latency"]
    assert order(latency=9.0) == order() == ["build", "latency", "accuracy"]


def of_run(folder: Path, change: Any = None, asked: Asked | None = None) -> Measured:
    run = folder / "runs" / "20260101-100000-x"
    run.mkdir(parents=True, exist_ok=True)
    content = report(run.name, "ppyoloe_tiny", "shapes", "", random.Random(0))
    for row in content["rows"]:
        row["validity"]["runtime"] = row["speedup_validity"]["runtime"] = "valid"
    if change is not None:
        change(next(row for row in content["rows"] if row["precision"] == "int8"))
    (run / "report.json").write_text(json.dumps(content))
    return trial.measure(run, asked or Asked(["speedup", "drop"]))


def test_the_answer_has_the_goals_their_intervals_and_the_points_of_the_page(tmp_path: Path) -> None:
    found = of_run(tmp_path)
    assert found.state == COMPLETE and found.why == "" and found.run == "20260101-100000-x"
    assert set(found.values) == set(found.bounds) == {"speedup", "drop"}
    for name, value in found.values.items():
        bounds = found.bounds[name]
        assert bounds is not None and bounds[0] < value < bounds[1]
    assert {(p["backend"], p["precision"]) for p in found.points} >= {("onnxruntime", "int8"), ("openvino", "fp32")}
    assert trial.answer(f"noise\n{found.line}\nthere/report.json\n") == found


def test_what_was_disturbed_is_missing_or_failed_is_no_value(tmp_path: Path) -> None:
    def disturb(row: dict[str, Any]) -> None:
        row["speedup_validity"]["runtime"] = DISTURBED

    found = of_run(tmp_path, disturb)
    assert found.state == FAILED and "speedup" not in found.values and "CPU shared" in found.why
    found = of_run(tmp_path, lambda row: row.update(map_drop=None))
    assert found.state == FAILED and "a labelled validation set" in found.why
    found = of_run(tmp_path, lambda row: row.update(status="failed", error="it crashed\nmore"))
    assert found.state == FAILED and found.why.endswith("is failed: it crashed")
    found = of_run(tmp_path, asked=Asked(["drop"], backend="tensorrt"))
    assert found.state == FAILED and "no row of tensorrt" in found.why
    found = of_run(tmp_path, lambda row: row.update(map_drop=3.0), Asked(["speedup", "drop"], {"drop": 0.5}))
    assert found.state == PRUNED and found.values["drop"] == 3.0


def test_what_is_asked_comes_back_from_the_command_line() -> None:
    asked = Asked(["speedup", "drop"], {"drop": 0.5}, "openvino", "int8")
    assert trial.parse(asked.flag.removeprefix(f"{trial.FLAG}=")) == asked
    for text in ("", "{", "[]", '{"goals": 3}', '{"goals": ["x"]}', '{"goals": [], "limits": {"drop": NaN}}'):
        with pytest.raises(InputError, match="--trial"):
            trial.parse(text)


@pytest.mark.parametrize("out", ["", "report.json\n", "detpress-trial \n", "detpress-trial {\n", "detpress-trial {}\n"])
def test_no_answer_is_none(out: str) -> None:
    assert trial.answer(out) is None


def test_answers_and_questions_of_this_process_are_taken_once() -> None:
    assert trial.asked_here() is None and trial.taken() is None
    with trial.asking(Asked(["drop"])):
        assert trial.asked_here() == Asked(["drop"])
        trial.tell(Measured(COMPLETE))
    assert trial.asked_here() is None
    assert trial.taken() == Measured(COMPLETE) and trial.taken() is None
