"""Runs that are killed, stopped, denied the disk, or whose clock jumps: nothing half-written, nothing lost."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.commands import runs
from pipelines.config.options.tracking import TrackingOptions
from pipelines.execution.events import NullObserver, RunInfo, StageInfo
from pipelines.execution.plan import survey
from pipelines.execution.runner import Node, Runner, RunnerSettings
from pipelines.runs import history
from pipelines.store import local
from pipelines.store.entries import Key
from pipelines.store.local import Store
from pipelines.tracking.observer import MlflowObserver
from stages.errors import DataError, StageError, StoreError
from tests.conftest import ROOT
from tests.pipelines import stub_pipeline
from tests.pipelines.stubs import StubOptions

STUB = stub_pipeline.STUB
WHOLE = {"a": "a", "b": "b+a", "time": "time+b+a", "report": "report+a+b+a+time+b+a"}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def start(artifacts: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.pipelines.stub_pipeline", str(artifacts), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def states(artifacts: Path) -> list[str]:
    """The status of each run, oldest first."""
    found = [history.read_state(folder) for folder in reversed(history.folders(artifacts))]
    return [state["status"] for state in found if state]


def assert_whole(artifacts: Path) -> None:
    """Every entry of the store is complete and is what was stored."""
    for folder in (artifacts / "store" / "stub").iterdir():
        record = json.loads((folder / "entry.json").read_text())
        assert Store(artifacts).find(Key("stub", record["parts"])) is not None
    assert list((artifacts / "store" / ".tmp").iterdir()) == []
    assert list((artifacts / "work").iterdir()) == []
    # One that died between taking its lock and writing its state looks as if it had just begun, and is left alone.
    assert [lock for lock in (artifacts / "runs").glob("*/.running") if (lock.parent / "run.json").exists()] == []


@pytest.mark.slow
@pytest.mark.timing
def test_runs_killed_at_any_instant_leave_nothing_half_done(tmp_path: Path) -> None:
    out, err = start(tmp_path, "--kill", "50").communicate(timeout=300)
    told = json.loads(out)
    assert told["killed"] == 50, err
    assert told["texts"] == WHOLE and told["failures"] == {}
    # The last worker is told of its orchestrator's death by a signal, and may hold its folder for a moment.
    limit = time.monotonic() + 30
    while any((tmp_path / "store" / ".tmp").iterdir()) and time.monotonic() < limit:
        Store(tmp_path).sweep()
        time.sleep(0.02)
    assert_whole(tmp_path)
    statuses = states(tmp_path)
    assert statuses[-1] == history.FINISHED and history.RUNNING not in statuses
    assert statuses.count(history.KILLED) >= 20  # some died before they had a folder


def test_a_killed_run_is_marked_and_named_by_its_successor(tmp_path: Path) -> None:
    process = start(tmp_path, "60")
    _wait_for(tmp_path / "work", "starts")
    process.kill()
    process.communicate()
    assert states(tmp_path) == [history.RUNNING]
    killed = history.folders(tmp_path)[0].name
    told = stub_pipeline.run(tmp_path)
    assert told["resumed_from"] == killed and told["texts"] == WHOLE
    assert states(tmp_path) == [history.KILLED, history.FINISHED]
    again = stub_pipeline.run(tmp_path)
    assert again["resumed_from"] is None and again["cached"] == ["a", "b", "time"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.timing
def test_a_stopped_run_ends_within_five_seconds_and_says_so(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, "60")
    _wait_for(tmp_path / "work", "starts")
    begun = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=20)
    assert time.monotonic() - begun < 5
    assert process.returncode in (143, 130, -signal.SIGINT)
    assert states(tmp_path) == [history.KILLED]
    assert list((tmp_path / "store" / ".tmp").iterdir()) == []


def test_another_config_does_not_go_on_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "20260101-000000-x"
    folder.mkdir(parents=True)
    state = {"run_id": folder.name, "status": "KILLED", "pipeline": "compress", "config_digest": "other"}
    (folder / "run.json").write_text(json.dumps(state))
    assert history.interrupted(tmp_path, "compress", "mine") is None
    assert history.interrupted(tmp_path, "finetune", "other") is None
    assert history.interrupted(tmp_path, "compress", "other") == folder.name


def runner(folder: Path) -> Runner:
    return Runner(Store(folder), NullObserver(), RunnerSettings(seed=0), logs=folder / "logs")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_fails_the_stage_and_the_next_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(Store):
        def commit(self, pending, artifact, *, record):  # type: ignore[no-untyped-def]
            (pending.folder / "entry.json").symlink_to("/dev/full")  # the file system itself says that it is full
            return super().commit(pending, artifact, record=record)

    node = Node(id="a", stage=STUB, options=StubOptions())
    full = Runner(Full(tmp_path), NullObserver(), RunnerSettings(seed=0), logs=tmp_path / "logs")
    failure = full.run([node]).failures["a"]
    assert isinstance(failure, StoreError) and os.strerror(errno.ENOSPC) in str(failure)
    assert list((tmp_path / "store" / ".tmp").iterdir()) == []

    def no_room(*arguments: object, **fields: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(local.tempfile, "mkdtemp", no_room)
        failure = runner(tmp_path).run([node]).failures["a"]
        assert isinstance(failure, StoreError) and "detpress gc" in str(failure)
    assert set(runner(tmp_path).run([node]).artifacts) == {"a"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a file system takes root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_wherever_the_disk_runs_full_nothing_is_lost(small_disk: Path) -> None:
    ends: set[str] = set()
    for free in range(0, 120_000, 20_000):
        artifacts = small_disk / "artifacts"
        filler = small_disk / "filler"
        filler.write_bytes(b"x" * max(0, shutil.disk_usage(small_disk).free - free))
        try:
            told = stub_pipeline.run(artifacts)
            ends.add("failed" if told["failures"] else "whole")
            assert all("No space left" in text for text in told["failures"].values())  # type: ignore[attr-defined]
        except StoreError as error:
            ends.add("refused")
            assert "No space left" in str(error)
        filler.unlink()
        entries = artifacts / "store" / "stub"
        for folder in entries.iterdir() if entries.is_dir() else ():
            record = json.loads((folder / "entry.json").read_text())
            assert Store(artifacts).find(Key("stub", record["parts"])) is not None
        again = stub_pipeline.run(artifacts)  # with room again, it goes on
        assert (again["failures"], again["texts"]) == ({}, WHOLE)
        shutil.rmtree(artifacts)
    assert "refused" in ends  # a stage that failed for want of room, too, ends there: its run.json has none either


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"run\.artifacts=FOLDER"):
        stub_pipeline.run(tmp_path / "file" / "artifacts")
    with pytest.raises(StoreError, match=r"run\.artifacts=FOLDER"):
        runner(tmp_path / "file").run([])


def test_a_clock_that_jumps_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stub_pipeline.run(tmp_path)
    real = time.time
    for jump in (-400 * 86400, 400 * 86400):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        again = stub_pipeline.run(tmp_path)
        assert again["texts"] == first["texts"] and again["cached"] == ["a", "b", "time"]
    assert all(state["seconds"] >= 0 for f in history.folders(tmp_path) if (state := history.read_state(f)))


def test_a_clock_that_jumps_during_a_run_makes_no_duration_negative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, jumps = time.time, itertools.cycle((400 * 86400, -400 * 86400, 0))
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    # Its records stay on disk, where they can be looked at.
    monkeypatch.setattr(MlflowObserver, "_work", lambda self: setattr(self, "_error", OSError("nobody is there")))
    observer = MlflowObserver(TrackingOptions(folder=str(tmp_path / "mlflow")))
    told = stub_pipeline.run(tmp_path, observers=[observer])
    assert (told["failures"], told["texts"]) == ({}, WHOLE)
    (spool,) = tmp_path.glob("runs/*/tracking.jsonl")
    times = [json.loads(line)["at"] for line in spool.read_text().splitlines()]
    assert len(times) > 10 and times == sorted(times) and times[-1] - times[0] < 60_000
    state = history.read_state(history.folders(tmp_path)[0])
    assert state is not None and 0 <= state["seconds"] < 60
    assert all(0 <= stage["seconds"] < 60 for stage in state["stages"].values())
    assert_whole(tmp_path)


@pytest.mark.slow
def test_a_store_that_can_only_be_read_is_refused_whole(small_disk: Path) -> None:
    artifacts = small_disk / "artifacts"
    first = stub_pipeline.run(artifacts)
    _remount(small_disk, "ro")
    before = sorted(str(path) for path in artifacts.rglob("*"))
    with pytest.raises(StoreError, match=r"Read-only file system.*run\.artifacts=FOLDER"):
        stub_pipeline.run(artifacts)
    assert sorted(str(path) for path in artifacts.rglob("*")) == before
    assert all(step.cached for step in survey(stub_pipeline.graph(0.0)[:3], Store(artifacts), 0))  # a plan reads
    assert runs.main(["--artifacts", str(artifacts)]) == 0
    _remount(small_disk, "rw")
    again = stub_pipeline.run(artifacts)
    assert (again["texts"], again["cached"]) == (first["texts"], ["a", "b", "time"])


def _remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def test_temporary_folders_are_swept_unless_somebody_works_on_them(tmp_path: Path) -> None:
    mine = Store(tmp_path)
    mine.prepare()
    dead, live = Key("stub", {"n": 1}), Key("stub", {"n": 2})
    left = mine.begin(dead).folder
    with mine.lock(live):
        kept = mine.begin(live).folder
        assert Store(tmp_path).sweep() == [left]
        assert kept.is_dir() and not left.exists()


def test_a_stage_is_tried_again_where_that_may_help(tmp_path: Path) -> None:
    class Watcher(NullObserver):
        said: list[str] = []  # noqa: RUF012

        def stage_event(self, stage, event) -> None:  # type: ignore[no-untyped-def]
            self.said.append(str(event.get("message", "")))

    watcher = Watcher()
    tries = Runner(Store(tmp_path), watcher, RunnerSettings(seed=0, retries=2), logs=tmp_path / "logs")
    options = StubOptions(behave="second")
    assert set(tries.run([Node(id="a", stage=STUB, options=options)]).artifacts) == {"a"}
    assert [line for line in watcher.said if "tried 2 times more, from its checkpoint" in line]
    bad = tries.run([Node(id="bad", stage=STUB, options=StubOptions(behave="fail"))])
    assert isinstance(bad.failures["bad"], DataError)
    assert sum("tried" in line for line in watcher.said) == 1  # wrong input stays wrong
    crash = tries.run([Node(id="crash", stage=STUB, options=StubOptions(behave="crash"))])
    assert isinstance(crash.failures["crash"], StageError)
    assert sum("tried" in line for line in watcher.said) == 3


def _wait_for(folder: Path, name: str) -> None:
    limit = time.monotonic() + 30
    while not any(folder.rglob(name)):
        assert time.monotonic() < limit, f"{name} never appeared under {folder}"
        time.sleep(0.02)


def test_what_is_known_at_the_start_is_told_at_the_start_and_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Watcher(NullObserver):
        seen = ""

        def run_started(self, run: RunInfo) -> None:
            self.warnings.append("one of old")

        def stage_started(self, stage: StageInfo) -> None:
            self.seen += capsys.readouterr().err
            self.warnings = [*self.warnings[:1], "one of now"]

    watcher = Watcher()
    stub_pipeline.run(tmp_path, observers=[watcher])
    assert "one of old" in watcher.seen and "one of now" not in watcher.seen
    assert capsys.readouterr().err.splitlines()[-1] == "warning one of now"
