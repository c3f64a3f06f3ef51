"""What is remembered of ticks, in files that a killed scheduler leaves whole.

``artifacts/schedule/open/TICK.json`` is a tick that has not ended, rewritten at each of its steps: after a kill -9 it
says what has to be continued. ``artifacts/schedule/history.jsonl`` gets a line for every run and every tick that did
not become one. ``artifacts/schedule/logs/`` has what the runs printed.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.config.options.schedule import FAILED, INTERRUPTED, KEPT, PROMOTED, REFUSED, UNCHANGED
from pipelines.retraining.journal import now
from pipelines.scheduling.child import is_running
from pipelines.system.files import write_text
from pipelines.system.output import say
from pipelines.system.process_identity import is_gone, this_process
from pipelines.system.redact import redact
from stages.errors import ExitCode, InputError
from stages.outside.names import part, shown
from stages.outside.records import made, parse
from stages.outside.records import read as read_json

BY_EXIT_CODE: dict[int, str] = {
    ExitCode.DONE: PROMOTED,
    ExitCode.WRONG_INPUT: REFUSED,
    ExitCode.GATE_FAILED: KEPT,
    ExitCode.STAGE_FAILED: FAILED,
    ExitCode.UNCHANGED: UNCHANGED,
    ExitCode.INTERRUPTED: INTERRUPTED,
    ExitCode.TERMINATED: INTERRUPTED,
}
RUNNING, WAITING, QUEUED, STOPPED = "running", "waiting", "queued", "stopped"


def root(artifacts: Path) -> Path:
    """Where schedules keep what they write."""
    return artifacts / "schedule"


def lock_of(artifacts: Path) -> Path:
    """The lock of whoever retrains: the scheduler takes it for its child, a retraining started by hand for itself."""
    return artifacts / "retrain" / "lock"


@dataclass
class Tick:
    """One tick that has not ended."""

    schedule: str
    artifacts: Path
    id: str = ""
    began: float = field(default_factory=time.time)
    """Seconds since the epoch: the deadline counts from here, also after a restart."""
    state: str = RUNNING
    attempt: int = 0
    resumes: int = 0
    attempt_began: float = 0.0
    retry_at: float = 0.0
    pid: int = 0
    pid_started: float = 0.0
    owner: dict[str, str] = field(default_factory=this_process)

    def __post_init__(self) -> None:
        self.id = self.id or f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"

    @property
    def out(self) -> Path:
        """Standard output of the newest attempt."""
        return root(self.artifacts) / "logs" / f"{self.id}-{self.attempt}.out"

    @property
    def log(self) -> Path:
        """Standard error of the newest attempt."""
        return self.out.with_suffix(".log")

    @property
    def now(self) -> str:
        """What happens to it now, in words."""
        if not is_gone(self.owner):
            process = f", process {self.pid}" if self.pid and self.state == RUNNING else ""
            return f"{self.state} (try {max(1, self.attempt)}{process})"
        if self.pid and is_running(self.pid, self.pid_started):
            return f"running without a scheduler (process {self.pid})"
        if self.asked_to_stop:
            return "stopped; the next scheduler records that"
        return "interrupted, continues with the next scheduler"

    @property
    def _file(self) -> Path:
        return root(self.artifacts) / "open" / f"{self.id}.json"

    def save(self) -> None:
        """Write the record as it stands."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._file, json.dumps({**vars(self), "artifacts": str(self.artifacts)}, indent=1))

    def close(self) -> None:
        """The tick has ended, and its end is in the history."""
        self._file.unlink(missing_ok=True)
        self._stop_file.unlink(missing_ok=True)

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self._file.is_file()

    @property
    def _stop_file(self) -> Path:
        return self._file.with_suffix(".stop")

    def ask_to_stop(self) -> None:
        """Ask whoever runs the tick to end it in order; one without a runner is asked when it gets the next."""
        self._stop_file.touch()

    @property
    def asked_to_stop(self) -> bool:
        return self._stop_file.exists()


def abandoned(artifacts: Path) -> list[Tick]:
    """The open ticks whose scheduler is gone, oldest first."""
    return [tick for tick in open_ticks(artifacts) if is_gone(tick.owner)]


def open_ticks(artifacts: Path) -> list[Tick]:
    """Every tick that has not ended, oldest first; a record that cannot be read is told, and kept aside."""
    ticks: list[Tick] = []
    for path in sorted((root(artifacts) / "open").glob("*.json")):
        try:
            tick = made(Tick, {**read_json(path), "artifacts": artifacts}, path)
            if part(tick.id, path, "id", InputError) != path.stem:
                raise InputError(f"{path} cannot be read: id is {shown(tick.id)}, which is not its name")
            ticks.append(tick)
        except FileNotFoundError:
            continue  # it has just ended
        except InputError as error:
            aside = path.with_suffix(".damaged")
            say(f"warning: {error}; its tick is not continued, the record is kept as {aside}")
            with contextlib.suppress(OSError):
                path.rename(aside)
    return ticks


def recorded_outcome(tick: Tick, exit_code: int | None) -> dict[str, Any] | None:
    """How a run ended: what it wrote, else what its exit code means; ``None`` if neither says anything.

    The last line of its standard output is the path of ``last.json``. One that is older than the run, or that another
    exit code stands in, is not this run's.
    """
    content: dict[str, Any] = {}
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = tick.out.read_text(errors="replace").strip().splitlines()
    if lines:
        with contextlib.suppress(OSError, ValueError, InputError):
            path = Path(lines[-1])
            written = read_json(path)
            fresh = path.stat().st_mtime >= tick.attempt_began - 2
            agrees = exit_code is None or written.get("exit_code") == exit_code
            if fresh and agrees and written.get("outcome") in list(BY_EXIT_CODE.values()):
                content = written
    if content:
        return content
    if exit_code is None:
        return None
    if exit_code in BY_EXIT_CODE:
        return {"outcome": BY_EXIT_CODE[exit_code], "reason": _last_words(tick), "exit_code": exit_code}
    how = f"exit code {exit_code}" if exit_code > 0 else f"signal {-exit_code}"
    return {"outcome": FAILED, "reason": f"it ended with {how}: {_last_words(tick)}", "exit_code": exit_code}


def _last_words(tick: Tick) -> str:
    """The last line that the run wrote to its standard error."""
    with contextlib.suppress(OSError):
        lines = tick.log.read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[-1].strip()[:300]
    return "it wrote nothing"


def append(artifacts: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Add a line to the history and return what was written."""
    line = {"at": now(), **redact(dict(entry))}
    path = root(artifacts) / "history.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(line) + "\n").encode())  # one write: lines of two processes do not mix
    finally:
        os.close(descriptor)
    return line


def read(artifacts: Path, schedule: str | None = None) -> list[dict[str, Any]]:
    """The history, oldest first; a line that was cut off by a crash is left out."""
    entries: list[dict[str, Any]] = []
    with contextlib.suppress(FileNotFoundError):
        for line in (root(artifacts) / "history.jsonl").read_text().splitlines():
            with contextlib.suppress(InputError):
                entry = parse(line, "history.jsonl")
                if schedule in (None, entry.get("schedule")):
                    entries.append(entry)
    return entries


def prune_logs(artifacts: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` logs."""
    logs: Sequence[Path] = sorted((root(artifacts) / "logs").glob("*.out"), key=lambda p: p.name, reverse=True)
    for path in logs[keep:]:
        path.unlink(missing_ok=True)
        path.with_suffix(".log").unlink(missing_ok=True)
