"""How a worker ends: with its orchestrator, also while it is blocked in a read, and with its work saved."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.stages.processes.test_children import assert_gone, ignored, running, wait_until

RUN = """
import sys
from pathlib import Path
from pipelines.execution.worker import run_worker
folder = Path(sys.argv[1])
options = {"text": "t", "behave": sys.argv[2], "seconds": 300}
request = {"stage": "tests.pipelines.stubs:Stub", "options": options, "inputs": {}, "out": str(folder / "out"),
           "work": str(folder / "work"), "seed": 0, "threads": 1}
try:
    run_worker(request, folder=folder, log=folder / "log.txt", on_event=lambda event: None)
finally:
    print("ended", flush=True)
"""


@contextmanager
def orchestrator(folder: Path, behave: str, mark: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process with a worker that has come to write ``mark``, and the ids of all that it started."""
    for name in ("out", "work"):
        (folder / name).mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RUN, str(folder), behave]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until((folder / "work" / mark).exists, "the worker's start")
            started = [one.pid for one in psutil.Process(process.pid).children(recursive=True)]
            assert len(started) == 2 and all(map(running, started))  # the worker, and the reaper
            yield process, started
        finally:
            process.kill()


def test_a_worker_that_is_blocked_in_a_read_dies_with_its_killed_orchestrator(tmp_path: Path) -> None:
    with orchestrator(tmp_path, "deaf", "pipe") as (process, started):
        process.kill()
        assert_gone(started)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_an_orphan_saves_its_work(tmp_path: Path, number: signal.Signals) -> None:
    with orchestrator(tmp_path, "saves", "starts") as (process, started):
        process.send_signal(number)
        assert_gone(started)
    assert (tmp_path / "work" / "saved").read_text() == "whole"


def test_a_second_signal_does_not_cut_short_what_the_first_one_began(tmp_path: Path) -> None:
    """`kill -9` of an orchestrator that has begun to end its worker, or an impatient user."""
    with orchestrator(tmp_path, "saves", "starts") as (process, started):
        (worker,) = [pid for pid in started if "stages.processes.worker" in psutil.Process(pid).cmdline()]
        os.kill(worker, signal.SIGTERM)
        wait_until(lambda: signal.SIGTERM in ignored(worker), "that it has heard")
        os.kill(worker, signal.SIGTERM)
        assert_gone([worker])
        assert process.stdout is not None and process.stdout.read() == "ended\n"
    assert (tmp_path / "work" / "saved").read_text() == "whole"


def test_a_worker_that_hears_nothing_is_ended_with_its_run(tmp_path: Path) -> None:
    with orchestrator(tmp_path, "deaf", "pipe") as (process, started):
        process.send_signal(signal.SIGINT)
        assert_gone(started)
        assert process.wait(60) != 0
