"""One run of ``detpress retrain`` as a process of its own, which its scheduler's death does not end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from pipelines.system import telemetry
from pipelines.system.locks import INHERITED
from stages.processes import python

_POLL_SECONDS = 0.1


class Child:
    """A started run."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid
        self.started = psutil.Process(process.pid).create_time()

    @classmethod
    def start(cls, command: Sequence[str], *, folder: Path, out: Path, log: Path, lock: int) -> Child:
        """Start ``command`` in a session of its own.

        Args:
            folder: working folder.
            out, log: files for standard output and standard error. Files, not pipes: a pipe to a killed scheduler
                would end the run at its next line.
            lock: descriptor that stays open in the child.

        Raises:
            OSError: the program cannot be started.
        """
        ours = python.revived(list(command))
        env = python.outer_environment() if ours is None else python.environment()
        env |= {INHERITED: str(lock), "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
        telemetry.off(env)
        with out.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                ours or list(command),
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                pass_fds=(lock,),
            )
        return cls(process)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; ``None`` while it runs."""
        return self._process.poll()

    def end(self, grace: float) -> int:
        """Stop it and everything it started: SIGTERM, then SIGKILL after ``grace`` seconds; returns the exit code."""
        end_tree(self.pid, self.started, grace, reaped=lambda: self._process.poll() is not None)
        return self._process.wait()


def end_tree(pid: int, started: float, grace: float, reaped: object = None) -> None:
    """End the process ``pid`` (if it is the one that started at ``started``), its group and its descendants.

    Stages run in sessions of their own, so the group alone would miss them; processes are told apart by their start,
    so a number that was given away again does not hit a stranger.
    """
    gone = reaped if callable(reaped) else (lambda: not is_running(pid, started))
    if not is_running(pid, started):
        return
    family = _family(pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and not gone():
        time.sleep(_POLL_SECONDS)
    family += [p for p in _family(pid) if p not in family] if is_running(pid, started) else []
    if is_running(pid, started):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()  # psutil checks that it is still the same process


def is_running(pid: int, started: float) -> bool:
    """Whether the process still runs, and is the one that was meant."""
    try:
        process = psutil.Process(pid)
        same: bool = abs(process.create_time() - started) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _family(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []
