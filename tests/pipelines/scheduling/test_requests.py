"""Stopping a retraining that runs, and asking for one: real processes, told apart from strangers with the same pid."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.cli import main
from pipelines.commands.schedule import put
from pipelines.scheduling import records, requests
from pipelines.scheduling.records import RUNNING, WAITING, Tick
from pipelines.scheduling.tick import TickRunner
from pipelines.system import locks
from pipelines.system.process_identity import this_process
from stages.errors import InputError
from tests.pipelines.scheduling.helpers import plan, spans, spec_for, store_of, wait_for

GONE = {**this_process(), "pid": "4194303", "process_start": "1"}
"""A scheduler of this machine that has ended."""


class Ticking:
    """A tick in a thread, as the scheduler has it."""

    def __init__(self, artifacts: Path, **options: Any) -> None:
        self.said: list[str] = []
        self.line: dict[str, Any] = {}
        self.stop = threading.Event()
        runner = TickRunner(spec_for(artifacts, **options), self.stop, self.said.append)
        self._thread = threading.Thread(target=lambda: self.line.update(runner.run()))
        self._thread.start()

    def end(self) -> dict[str, Any]:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.line


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is nobody's retraining."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_stopped_retraining_is_over_and_not_tried_again(tmp_path: Path) -> None:
    plan(tmp_path, outcomes=["promoted"], seconds=300)
    ticking = Ticking(tmp_path, retries=5)
    wait_for(lambda: spans(tmp_path), "the run's begin")
    (tick,) = records.open_ticks(tmp_path)
    assert requests.stop([tick], grace=5.0) == tick
    line = ticking.end()
    assert (line["outcome"], line["attempt"]) == ("interrupted", 1)
    assert "the next tick continues from what it had finished" in line["reason"]
    assert len(spans(tmp_path)) == 1 and not psutil.pid_exists(tick.pid)
    assert list((tmp_path / "schedule" / "open").iterdir()) == []
    plan(tmp_path, outcomes=["promoted"])
    assert Ticking(tmp_path).end()["outcome"] == "promoted"  # the request is not left for the next one


def test_a_tick_that_waits_for_its_next_try_can_be_stopped(tmp_path: Path) -> None:
    plan(tmp_path, outcomes=["failed"])
    ticking = Ticking(tmp_path, retries=5, backoff=600.0, max_backoff=600.0)
    wait_for(lambda: [t for t in records.open_ticks(tmp_path) if t.state == WAITING], "the failure")
    requests.stop(records.open_ticks(tmp_path), grace=5.0)
    assert ticking.end()["outcome"] == "interrupted"


def test_a_tick_that_waits_for_its_turn_can_be_stopped(tmp_path: Path) -> None:
    with locks.signed(records.lock_of(tmp_path)):
        ticking = Ticking(tmp_path, overlap="queue")
        wait_for(lambda: records.open_ticks(tmp_path), "the queued tick")
        requests.stop(records.open_ticks(tmp_path), grace=5.0)
        line = ticking.end()
    assert line["outcome"] == "skipped" and "detpress schedule stop" in line["reason"]
    assert spans(tmp_path) == []


def test_a_run_that_outlived_its_scheduler_is_stopped_and_recorded_by_the_next(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    started = psutil.Process(sleeper.pid).create_time()
    tick = Tick("retrain", tmp_path, attempt=1, attempt_began=time.time(), pid=sleeper.pid, pid_started=started)
    tick.owner = GONE
    tick.save()
    requests.stop([tick], grace=2.0)
    assert sleeper.wait(10) != 0
    assert tick.now == "stopped; the next scheduler records that"
    (left,) = records.abandoned(tmp_path)
    held = locks.acquire(records.lock_of(tmp_path))
    line = TickRunner(spec_for(tmp_path), threading.Event(), print).resume(left, held)
    assert line["outcome"] == "interrupted" and "detpress schedule stop" in line["reason"]
    assert spans(tmp_path) == [] and records.open_ticks(tmp_path) == []


def test_a_stranger_that_got_the_same_pid_is_left_alone(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    began = psutil.Process(sleeper.pid).create_time() - 3600
    tick = Tick("retrain", tmp_path, state=RUNNING, attempt=1, pid=sleeper.pid, pid_started=began, owner=GONE)
    tick.save()
    requests.stop([tick], grace=1.0)
    assert sleeper.poll() is None


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"pid_namespace": "pid:[1]"}])
def test_what_runs_on_another_machine_is_not_touched(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], change: dict[str, str]
) -> None:
    started = psutil.Process(sleeper.pid).create_time()
    tick = Tick("retrain", tmp_path, attempt=1, pid=sleeper.pid, pid_started=started)
    tick.owner = {**this_process(), **change}
    tick.save()
    with pytest.raises(InputError, match=f"runs on {change.get('host', socket.gethostname())}; stop it there"):
        requests.stop([tick], grace=1.0)
    assert sleeper.poll() is None and not tick.asked_to_stop


def test_requests_for_a_tick_are_taken_once(tmp_path: Path) -> None:
    asking = threading.Thread(target=requests.ask_to_run, args=(tmp_path, "nightly"))
    asking.start()
    assert wait_for(lambda: requests.taken(tmp_path), "the request") == ["nightly"]
    asking.join(60)
    assert not asking.is_alive() and requests.taken(tmp_path) == []


def test_the_commands_without_a_scheduler_or_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    artifacts = tmp_path / "artifacts"
    put(store_of(artifacts), artifacts / "schedule", spec_for(artifacts))
    assert main(["schedule", "run-now", "retrain"]) == 2
    assert "no scheduler runs; `detpress schedule run retrain` starts one" in " ".join(capsys.readouterr().err.split())
    assert main(["schedule", "stop", "retrain"]) == 0
    assert capsys.readouterr().out == "retrain: nothing of it runs\n"
    assert main(["schedule", "stop", "retrian"]) == 2
    assert "did you mean retrain?" in " ".join(capsys.readouterr().err.split())


def test_what_a_removed_schedule_still_runs_can_be_seen_and_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    artifacts = tmp_path / "artifacts"
    plan(artifacts, outcomes=["promoted"], seconds=300)
    put(store_of(artifacts), artifacts / "schedule", spec_for(artifacts))
    ticking = Ticking(artifacts)
    wait_for(lambda: spans(artifacts), "the run's begin")
    assert main(["schedule", "remove", "retrain"]) == 0
    assert main(["schedule", "logs", "retrain"]) == 0
    capsys.readouterr()
    assert main(["schedule", "stop", "retrain"]) == 0
    assert "retrain: interrupted: stopped with" in capsys.readouterr().out
    assert ticking.end()["outcome"] == "interrupted"
    assert main(["schedule", "stop", "retrain"]) == 2
