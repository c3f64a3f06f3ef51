"""What a run tells of how far it is, and how that is said."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipelines.execution.events import StageInfo
from pipelines.runs import progress
from pipelines.runs.progress import FILE, ProgressWriter, read, words
from stages.artifacts import Artifact


def stage(name: str) -> StageInfo:
    return StageInfo(id=name, stage=name, key="k")


def test_the_stage_that_runs_is_in_the_runs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_EVERY_SECONDS", 0.0)
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    writer = ProgressWriter(tmp_path)
    assert read(tmp_path) is None
    writer.stage_started(stage("distill"))
    found = read(tmp_path)
    assert found is not None and words(found) == "stage distill, since 0 s"
    for done in (100, 200):
        writer.stage_event(stage("distill"), {"event": "progress", "done": done, "total": 400, "loss": 1.0})
        writer.stage_event(stage("distill"), {"event": "info", "message": "not about progress"})
    found = read(tmp_path)
    assert found is not None and (found["done"], found["total"]) == (200, 400)
    # Two steps of the clock between the two points (one is taken by the writing): twice as long is left.
    assert found["left_s"] == 60.0
    assert words(found) == "stage distill, 200 of 400, about 1 min left"


def test_of_stages_that_overlap_the_newest_that_still_runs_is_shown_and_nothing_remains(tmp_path: Path) -> None:
    writer = ProgressWriter(tmp_path)
    artifact = Artifact(root=tmp_path, files={})
    names = []
    for name in ("build.a", "build.b"):
        writer.stage_started(stage(name))
    for name in ("build.b", "build.a"):
        names.append((read(tmp_path) or {})["stage"])
        writer.stage_finished(stage(name), artifact, cached=False, seconds=1.0)
    assert names == ["build.b", "build.a"]
    writer.run_finished("FINISHED", {}, None)
    assert list(tmp_path.iterdir()) == []


def test_what_was_cut_off_counts_as_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"stage": "di')
    assert read(tmp_path) is None


def test_a_countdown_continues_while_nothing_new_is_written() -> None:
    told = words({"stage": "s", "since": 0.0, "done": 1, "total": 2, "left_s": 100.0, "at": time.time() - 40})
    assert told == "stage s, 1 of 2, about 1 min left"
