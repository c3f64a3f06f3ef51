"""The events of a run on disk, until a tracking store has them all.

``RUN_DIR/tracking.jsonl`` holds one JSON record per line from the start of the run on. It is locked while its run
lives and removed when everything was delivered, so a file that lies there unlocked is of a run whose events still
have to be sent: the store could not be reached, or the process was killed.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from pipelines.system.locks import try_exclusive
from stages.errors import StoreError
from stages.outside import records

NAME = "tracking.jsonl"


class Record(TypedDict):
    """What every record has; the rest is its kind's (`pipelines/tracking/observer.py`)."""

    kind: str
    at: int


class Spool:
    """One run's file of records. Appending is thread-safe only if one thread appends."""

    def __init__(self, path: Path) -> None:
        """Open and lock ``path``; raises ``BlockingIOError`` if another process has it."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("a", encoding="utf-8")
        try:
            if not try_exclusive(self._stream):
                raise BlockingIOError(errno.EWOULDBLOCK, "another process has it", str(path))
        except OSError:
            self._stream.close()
            raise

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

    def close(self, *, delivered: bool) -> None:
        """Let go of the file, and remove it if its records have arrived."""
        if delivered:
            self.path.unlink(missing_ok=True)
        self._stream.close()


def leftovers(runs: Path) -> Iterator[Spool]:
    """The spools under ``runs`` (the folder of run folders) whose runs have ended without delivering them."""
    # A set of real paths, because `latest` beside the run folders is a link to one of them.
    for path in sorted({spool.resolve() for spool in runs.glob(f"*/{NAME}")}):
        if path.stat().st_size == 0:
            continue  # a run that is about to take its lock
        try:
            yield Spool(path)
        except BlockingIOError:
            continue  # its run is alive
