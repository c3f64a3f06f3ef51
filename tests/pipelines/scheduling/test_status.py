"""What a person reads of a schedule: what runs, how it ended, when the next tick is; its history and its logs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.commands.schedule import put
from pipelines.runs import progress
from pipelines.scheduling import records
from pipelines.scheduling.records import Tick
from pipelines.scheduling.status import collapsed, last_real, usual
from pipelines.system.run_lock import alive
from tests.pipelines.scheduling.helpers import spec_for, store_of
from tests.pipelines.stored_runs import remembered


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stored schedule, in a zone of which everybody can tell that it is not UTC."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("COLUMNS", "80")
    time.tzset()
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "artifacts"
    put(store_of(folder), folder / "schedule", spec_for(folder))
    yield folder
    monkeypatch.undo()
    time.tzset()


def due(artifacts: Path, at: datetime | None) -> None:
    store = store_of(artifacts)
    store.update_job(store.job(store.lookup_job("retrain").kwargs["spec"], at))


def line(artifacts: Path, outcome: str, ended: str, **more: Any) -> None:
    records.append(artifacts, {"schedule": "retrain", "outcome": outcome, "ended": ended, **more})


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints, in a line."""
    assert main(["schedule", *arguments]) == 0
    return " ".join(capsys.readouterr().out.split())


def running(artifacts: Path) -> Tick:
    """A tick of this process, as far as anybody can tell."""
    tick = Tick("retrain", artifacts, attempt=1, attempt_began=time.time() - 60, pid=1)
    tick.save()
    return tick


def test_the_stage_that_runs_and_when_it_may_be_over(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line(artifacts, "promoted", "2026-01-01T10:17:00Z", started="2026-01-01T10:00:00Z", reason="Every gate holds.")
    running(artifacts)
    began = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    run = remembered(artifacts, "20260102-a", status="RUNNING", pipeline="retrain", started=began)
    told: progress.Progress = {"stage": "distill", "since": 0.0, "done": 120, "total": 400}
    (run / progress.FILE).write_text(json.dumps({**told, "left_s": 183.0, "at": time.time()}))
    old = remembered(artifacts, "20260103-b", status="RUNNING", pipeline="retrain", started="2026-01-01T00:00:00Z")
    with alive(run), alive(old):  # the second has nothing to do with this tick
        text = shown(capsys, "status", "retrain")
    assert "stage distill, 120 of 400, about 3 min" in text and "JST:" in text
    assert "the last retraining took 17 min" in text
    assert "last promoted 2026-01-01 19:17:00 JST: Every gate holds." in text


def test_nothing_runs_and_the_next_tick_in_words(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    due(artifacts, datetime.now(timezone.utc) + timedelta(hours=3, minutes=20, seconds=20))
    line(artifacts, "unchanged", "2026-01-01T10:00:00Z", reason="no change")
    line(artifacts, "skipped", "2026-01-01T11:00:00Z")
    line(artifacts, "skipped", "2026-01-01T12:00:00Z")
    text = shown(capsys, "status")
    assert "now nothing last unchanged 2026-01-01 19:00:00 JST: no change; since then skipped ×2" in text
    assert "next tick in 3 h 20 min (20" in text and "JST), but no scheduler runs" in text
    due(artifacts, datetime.now(timezone.utc) - timedelta(minutes=30, seconds=5))
    assert "next tick due since 30 min (20" in shown(capsys, "status")
    due(artifacts, None)
    assert "none: paused (`detpress schedule resume retrain`)" in shown(capsys, "status")
    (row,) = json.loads(shown(capsys, "status", "--json"))["schedules"]
    assert (row["name"], row["skipped"], row["last"]["outcome"]) == ("retrain", 2, "unchanged")


def test_lines_fit_the_terminal(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line(artifacts, "kept", "2026-01-01T10:00:00Z", reason="a gate does not hold: " + "word " * 60)
    assert main(["schedule", "status"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_a_retraining_by_hand_is_named(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines.system import locks

    with locks.signed(records.lock_of(artifacts)):
        assert "nothing; another retraining runs here (process" in shown(capsys, "status")


def test_skipped_ticks_in_a_row_are_one_line_of_the_history(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line(artifacts, "promoted", "2026-01-01T10:00:00Z", reason="first")
    for minute in range(9):
        line(artifacts, "skipped", f"2026-01-01T10:0{minute}:30Z", reason="the tick before it is still running")
    line(artifacts, "kept", "2026-01-01T10:10:00Z", reason="second")
    text = shown(capsys, "history", "--last", "3")
    assert text.count("skipped") == 1 and "skipped ×9" in text and "first" in text and "second" in text
    assert "2026-01-01 19:08:30 JST" in text and "T10:" not in text
    assert len(json.loads(shown(capsys, "history", "--json"))["history"]) == 11


def test_rows_of_two_schedules_are_not_mixed() -> None:
    lines = [{"schedule": name, "outcome": "skipped"} for name in ("a", "a", "b", "a")]
    assert [(row["schedule"], count) for row, count in collapsed(lines)] == [("a", 2), ("b", 1), ("a", 1)]


def test_the_last_real_outcome_is_no_skip_and_no_try_that_is_repeated() -> None:
    lines = [{"outcome": "kept"}, {"outcome": "failed", "again": True}, {"outcome": "missed"}]
    assert last_real(lines) == ({"outcome": "kept"}, 1)
    assert last_real([{"outcome": "skipped"}]) == (None, 1)
    assert usual([{"outcome": "kept"}, {"outcome": "unchanged"}]) is None


def test_the_log_of_the_run_that_runs_else_of_the_last(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", "logs", "retrain"]) == 2
    assert "it has not run yet" in " ".join(capsys.readouterr().err.split())
    tick = running(artifacts)
    tick.log.write_text("distill 1/4\n")
    assert shown(capsys, "logs", "retrain") == "distill 1/4"
    line(artifacts, "promoted", "2026-01-01T10:00:00Z", log=str(tick.log))
    tick.close()
    assert shown(capsys, "logs", "retrain", "-f") == "distill 1/4"  # nothing to wait for


def test_a_log_is_followed_until_the_tick_has_ended(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import threading

    tick = running(artifacts)
    tick.log.write_text("first\n")

    def write() -> None:
        time.sleep(0.5)
        with tick.log.open("a") as stream:
            stream.write("second\n")
        tick.attempt = 2
        tick.save()
        tick.log.write_text("the second try\n")
        time.sleep(0.5)
        line(artifacts, "promoted", "2026-01-01T10:00:00Z", reason="done")
        tick.close()

    writer = threading.Thread(target=write)
    writer.start()
    assert main(["schedule", "logs", "retrain", "-f"]) == 0
    writer.join()
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "first" and out.splitlines()[-1] == "the second try"
    assert err.splitlines()[-1] == "retrain: promoted: done"
