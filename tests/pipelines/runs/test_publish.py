"""A report that an earlier run made is rendered again for the run that takes it over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.execution.events import Observers, RunInfo
from pipelines.runs.publish import publish
from pipelines.runs.run import Run
from stages.artifacts import ImageList, LabeledSet
from stages.report.report import ReportStage
from tests.fakes import FakeContext
from tests.stages.report.test_report import OPTIONS, everything


def opened(folder: Path, run_id: str, **more: Any) -> Run:
    run_dir = folder / "runs" / run_id
    run_dir.mkdir(parents=True)
    info: dict[str, Any] = {
        "run_id": run_id, "name": run_id, "pipeline": "compress", "model": "m", "data": "d", "config": {},
        "command": f"detpress compress seed={run_id}", "hardware": "h", "commit": None, "run_dir": run_dir,
        "resumed_from": None, **more,
    }  # fmt: skip
    return Run(RunInfo(**info), Observers([]))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """The folder of a stored report; its run's id is also a class's name and part of the command."""
    inputs = everything(tmp_path)
    files = [a.path("accuracy.json") for a in inputs.accuracies] + [c.path("compare.json") for c in inputs.comparisons]
    for file in files:
        content = json.loads(file.read_text())
        content["per_class"][0]["name"] = "run-1"
        file.write_text(json.dumps(content))
    options = type(OPTIONS)(**{**vars(OPTIONS), "config": {"note": "run-1"}})
    return ReportStage(options).run(inputs, FakeContext(tmp_path / "first")).root


def test_the_run_puts_its_own_name_in_and_leaves_other_words_alone(tmp_path: Path, stored: Path) -> None:
    run = opened(tmp_path, "run-2")
    path = publish(run, stored)
    before, report = json.loads((stored / "report.json").read_text()), json.loads(path.read_text())
    assert (report["run_id"], report["command"], report["timed_in"]) == ("run-2", "detpress compress seed=run-2", {})
    same = {"run_id", "command", "timed_in", "stages", "images"}
    assert {k: v for k, v in report.items() if k not in same} == {k: v for k, v in before.items() if k not in same}
    for name in ("report.md", "report.html"):
        text = (run.info.run_dir / name).read_text()
        assert "run-2" in text and "detpress compress seed=run-2" in text and "run-1" in text, (
            "the class keeps its name"
        )
        assert "Timings were taken" not in text
    assert {p.name for p in run.info.run_dir.iterdir()} == {
        *("report.json", "report.md", "report.html", "report-pareto.png", "report-latency-runtime.png"),
        *("report-latency-end2end.png", "report-classes-onnxruntime.png"),
    }
    assert (tmp_path / "runs" / "latest").resolve() == run.info.run_dir


def test_the_page_is_the_stages_but_for_the_runs_name(tmp_path: Path, stored: Path) -> None:
    run = opened(tmp_path, "run-1", command=OPTIONS.command)
    publish(run, stored)
    for name in ("report.md", "report.html"):
        assert (run.info.run_dir / name).read_text() == (stored / name).read_text()


def test_it_says_how_long_stages_took_and_on_how_many_images(tmp_path: Path, stored: Path) -> None:
    run = opened(tmp_path, "run-2")
    digest = {"root": tmp_path, "images_digest": "", "images_root": ""}
    run.results.artifacts |= {
        "labels.val": LabeledSet(**digest, images=20, boxes=61),
        "images.unlabeled": ImageList(root=tmp_path, count=64),
    }
    run.results.seconds = {"labels.val": 1.25, "images.unlabeled": 0.01, "distill": 3.0}
    run.results.computed = {"labels.val": 1.25, "images.unlabeled": 7.5}
    run.results.cached.add("images.unlabeled")
    report = json.loads(publish(run, stored).read_text())
    assert report["stages"] == [
        {"stage": "labels.val", "seconds": 1.25, "cached": False},
        {"stage": "images.unlabeled", "seconds": 7.5, "cached": True},
    ]  # one that failed has none
    page = (run.info.run_dir / "report.html").read_text()
    assert "Stage durations" in page and "from the store" in page and "20 with 61 boxes" in page


def test_it_says_where_a_timing_comes_from(tmp_path: Path, stored: Path) -> None:
    run = opened(tmp_path, "run-3")
    run.results.timed_in["latency.onnxruntime"] = "<run-0>"
    report = json.loads(publish(run, stored).read_text())
    assert report["timed_in"] == {"latency.onnxruntime": "<run-0>"}
    said = "Timings were taken earlier, on this machine since it started: onnxruntime in run &lt;run-0"
    for name in ("report.md", "report.html"):
        assert said in (run.info.run_dir / name).read_text()
