"""What retraining remembers of a registered model: the last sets it accepted, and the last it judged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pipelines.retraining import journal
from pipelines.retraining.snapshot import Snapshot
from pipelines.system.files import write_text
from stages.errors import InputError
from stages.outside import records

_MOST_BYTES = 1 << 30  # a line for every image


@dataclass(frozen=True)
class State:
    """Two files under ``artifacts/retrain/NAME/``."""

    folder: Path

    def accepted(self) -> Snapshot | None:
        """The images and labels that last passed the check, whatever came of the run."""
        return (self._read("accepted.json") or {}).get("snapshot")

    def considered(self) -> dict[str, Any] | None:
        """The last retraining that came to a verdict: ``{"snapshot", "outcome", "run_id", "at"}``."""
        return self._read("considered.json")

    def accept(self, snapshot: Snapshot) -> None:
        self._write("accepted.json", {"snapshot": snapshot, "at": journal.now()})

    def consider(self, snapshot: Snapshot, outcome: str, run_id: str | None) -> None:
        self._write(
            "considered.json", {"snapshot": snapshot, "outcome": outcome, "run_id": run_id, "at": journal.now()}
        )

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        try:
            content: dict[str, Any] = records.read(path, most=_MOST_BYTES)
        except FileNotFoundError:
            return None
        except InputError as error:
            raise InputError(f"{error}; remove it, and the next retraining counts everything as changed") from error
        if not isinstance(content.get("snapshot"), dict):
            raise InputError(f"{path} cannot be read: snapshot is missing; remove it, and the next retraining counts "
                             "everything as changed")  # fmt: skip
        return content

    def _write(self, name: str, content: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / name, json.dumps(content))


def days_since(stamp: str) -> float:
    """Days since a time as `retrain_journal.now` writes it."""
    then = datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    return (datetime.now(timezone.utc) - then).total_seconds() / 86400
