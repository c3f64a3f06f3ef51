"""What came of each retraining: ``artifacts/retrain/last.json``, and a line each in ``history.jsonl``.

::

    outcome     "promoted", "kept", "unchanged", "refused", "failed" or "interrupted"
    reason      why, in a sentence
    exit_code   0, 2, 3, 4, 5, 130, 143; 137 of a run that was killed, written by the next one
    name        the registered model
    run_id      the run, if one was begun; version: of the challenger; champion: the champion's version afterwards
    started, ended    UTC
    command
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipelines.system.failures import code_of, tell
from pipelines.system.files import write_text
from pipelines.system.locks import signed
from pipelines.system.output import out, say
from pipelines.system.redact import redact, redact_text
from stages.errors import ExitCode, InputError
from stages.outside import records
from stages.outside.text import urls

PROMOTED, KEPT, UNCHANGED = "promoted", "kept", "unchanged"
REFUSED, FAILED, INTERRUPTED = "refused", "failed", "interrupted"
_RUNNING = "running.json"


@dataclass
class Outcome:
    """How one retraining ended."""

    outcome: str
    reason: str
    exit_code: int
    name: str | None = None
    run_id: str | None = None
    version: str | None = None
    champion: str | None = None
    started: str = ""
    ended: str = ""
    command: str = ""
    more: dict[str, Any] = field(default_factory=dict)
    """``changes`` that started it, ``failed_gates``, ``drift``."""

    def end(self, outcome: str, reason: str, exit_code: int) -> None:
        """Set how it ended."""
        self.outcome, self.reason, self.exit_code = outcome, reason, exit_code


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Journal:
    """The outcomes under one artifacts folder; its writer holds the lock of the retraining."""

    def __init__(self, artifacts: Path) -> None:
        self.folder = artifacts / "retrain"
        self.last = self.folder / "last.json"
        self.history = self.folder / "history.jsonl"

    def begin(self, command: str) -> str:
        """Note that a retraining runs; returns when it began. One that was killed before is recorded first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for killed in self._killed():
            reason = "its process was killed; the next one continues from what it had finished"
            started, command = killed["started"], killed["command"]
            self.write(Outcome(INTERRUPTED, reason, ExitCode.KILLED, started=started, command=command))
        started = now()
        write_text(self.folder / _RUNNING, json.dumps({"started": started, "command": command, "pid": os.getpid()}))
        return started

    def write(self, outcome: Outcome) -> Path:
        """Write the outcome down; returns the path of ``last.json``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        outcome.ended = now()
        plain = asdict(outcome)
        plain |= plain.pop("more")
        line = json.dumps(plain, default=str)
        with self.history.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
        write_text(self.last, json.dumps(plain, indent=1, default=str) + "\n")
        (self.folder / _RUNNING).unlink(missing_ok=True)
        return self.last

    def lines(self) -> list[dict[str, Any]]:
        """Every outcome, oldest first; a line cut off by a full disk is left out."""
        outcomes: list[dict[str, Any]] = []
        if self.history.is_file():
            for line in self.history.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(InputError):
                    outcomes.append(records.parse(line, self.history))
        return outcomes

    def _killed(self) -> Iterator[dict[str, str]]:
        try:
            state = records.read(self.folder / _RUNNING)
        except FileNotFoundError:
            return
        except InputError:
            state = {}  # it was cut off, which is to be recorded all the same
        yield {"started": str(state.get("started", "")), "command": str(state.get("command", ""))}


def run_and_record(
    artifacts: Path,
    command: Sequence[str],
    work: Callable[[Outcome], None],
    *,
    debug: bool = False,
    on_error: Callable[[Exception], object] | None = None,
) -> tuple[int, Path]:
    """Do ``work`` under the lock of the retraining, and record its outcome, whatever that is.

    Args:
        on_error: what to do with an error once it is recorded; by default it is printed.
    """
    log, line = Journal(artifacts), shlex.join(redact(list(command)))
    with signed(log.folder / "lock", lambda who: say(f"{who} is retraining here; waiting for it")):
        outcome = Outcome(FAILED, "", ExitCode.STAGE_FAILED, command=line, started=log.begin(line))
        failed: Exception | None = None
        try:
            work(outcome)
        except Exception as error:
            failed, code = error, code_of(error)
            reason = urls(redact_text(str(error).strip() or type(error).__name__))
            outcome.end(REFUSED if code == ExitCode.WRONG_INPUT else FAILED, reason, code)
        except BaseException as stop:
            code = stop.code if isinstance(stop, SystemExit) and isinstance(stop.code, int) else ExitCode.INTERRUPTED
            outcome.end(INTERRUPTED, "it was stopped; the same command continues from what it had finished", code)
            print(log.write(outcome), file=out(), flush=True)
            raise
        path = log.write(outcome)  # before anything is printed, which may take for ever
        if failed is None:
            say(f"{outcome.outcome}: {outcome.reason}")
        elif on_error is not None:
            on_error(failed)
        else:
            tell(failed, debug=debug)
        return outcome.exit_code, path
