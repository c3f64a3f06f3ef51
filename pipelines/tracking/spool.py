"""The events of a run on disk, until a tracking store has them all.

``RUN_DIR/tracking.jsonl`` holds one JSON record per line from the start of the run on. It is locked while its run
lives, and while its sender in the background does, and removed when everything was delivered. So a file that lies there
unlocked is of a run whose events still have to be sent: the store could not be reached, or the process was killed.
``tracking.error`` beside it has the reason where nobody was there to be told.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from pipelines.system.files import write_text
from pipelines.system.locks import held, try_exclusive
from stages.errors import InputError, StoreError
from stages.outside import records

NAME = "tracking.jsonl"


class Record(TypedDict):
    """What every record has; the rest is its kind's (`pipelines/tracking/observer.py`)."""

    kind: str
    at: int


class Spool:
    """One run's file of records. Appending is thread-safe only if one thread appends."""

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        """Open and lock ``path``; raises ``BlockingIOError`` if another process has it.

        Args:
            descriptor: of the file, open and locked by the process that started this one.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("a", encoding="utf-8") if descriptor is None else os.fdopen(descriptor, "a")
        try:
            if not try_exclusive(self._stream):
                raise BlockingIOError(errno.EWOULDBLOCK, "another process has it", str(path))
        except OSError:
            self._stream.close()
            raise

    def fileno(self) -> int:
        """The descriptor that holds the lock: a child that inherits it keeps the file locked."""
        return self._stream.fileno()

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record and hand it to the operating system, so that a killed process loses none."""
        self._stream.write(json.dumps(record, separators=(",", ":"), default=str) + "\n")
        self._stream.flush()

    def records(self) -> Iterator[dict[str, Any]]:
        """What was written so far. A last line cut off by a crash is left out."""
        with self.path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.endswith("\n"):
                    yield records.parse(line, f"{self.path}:{number}", Record, raises=StoreError, lenient=True)

    def fail(self, reason: str) -> None:
        """Note why the records could not be sent, for the next run to tell: nobody reads the sender's log."""
        with contextlib.suppress(OSError):  # a full disk: the next run tries to send them all the same
            write_text(_reason_of(self.path), reason)

    def close(self, *, delivered: bool) -> None:
        """Let go of the file, and remove it if its records have arrived."""
        if delivered:
            self.path.unlink(missing_ok=True)
            _reason_of(self.path).unlink(missing_ok=True)
        self._stream.close()


def leftovers(runs: Path) -> Iterator[Spool]:
    """The spools under ``runs`` (the folder of run folders) whose runs have ended without delivering them."""
    for path in _files(runs):
        try:
            if path.stat().st_size:  # else a run is about to take its lock
                yield Spool(path)
        except (BlockingIOError, FileNotFoundError):
            continue  # its run is alive, or another run has just sent it


def unsent(runs: Path) -> dict[Path, str]:
    """The same, only looked at: file -> why it could not be sent, as far as that was noted (else an empty text)."""
    found = {}
    for path in _files(runs):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size and not held(path):
                reason = _reason_of(path)
                found[path] = reason.read_text(encoding="utf-8").strip() if reason.is_file() else ""
    return found


def meant_for(path: Path) -> str | None:
    """The store that the records of a file are for, without its password; ``None`` if it does not say."""
    with path.open(encoding="utf-8") as stream:
        try:
            return str(records.parse(stream.readline(), path)["store"])
        except (InputError, KeyError):
            return None


def _files(runs: Path) -> list[Path]:
    # A set of real paths, because `latest` beside the run folders is a link to one of them.
    return sorted({spool.resolve() for spool in runs.glob(f"*/{NAME}")})


def _reason_of(spool: Path) -> Path:
    return spool.with_suffix(".error")
