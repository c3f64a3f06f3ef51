"""How far a run is, for those who look from outside: ``RUN_DIR/progress.json``, which goes when the run ends.

::

    stage      the stage that was started last and still runs
    since      seconds since the epoch: when it began
    done, total, left_s    of the stage, as far as it tells: steps, images, rounds; and the seconds that are left
    at         when this was written
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from pipelines.execution.events import NullObserver, StageInfo
from pipelines.system.files import write_text
from pipelines.system.times import span
from stages.artifacts import Artifact
from stages.errors import InputError
from stages.outside import records

FILE = "progress.json"
_EVERY_SECONDS = 2.0


class Progress(TypedDict, total=False):
    """The content of ``progress.json``."""

    stage: str
    since: float
    done: int
    total: int
    left_s: float | None
    at: float


class Pace:
    """What is left of a stage by its own rate, since its first progress."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None  # when that came, and how far it was

    def left(self, done: int, total: int) -> float | None:
        """Seconds until ``total``; ``None`` where the rate is not known yet, or nothing is left."""
        now = time.monotonic()
        if self._first is None or done <= self._first[1]:
            self._first = (now, done)
            return None
        return (now - self._first[0]) / (done - self._first[1]) * (total - done) if done < total else None


class ProgressWriter(NullObserver):
    """Keeps ``progress.json`` up to date."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self._file = run_dir / FILE
        self._running: dict[str, Progress] = {}
        self._paces: dict[str, Pace] = {}
        self._written = 0.0

    def stage_started(self, stage: StageInfo) -> None:
        self._running[stage.id] = {"stage": stage.id, "since": time.time()}
        self._paces[stage.id] = Pace()
        self._write()

    def stage_event(self, stage: StageInfo, event: Mapping[str, Any]) -> None:
        if event["event"] != "progress" or stage.id not in self._running:
            return
        left = self._paces[stage.id].left(event["done"], event["total"])
        self._running[stage.id] |= {"done": event["done"], "total": event["total"], "left_s": left}
        if time.monotonic() - self._written >= _EVERY_SECONDS:
            self._write()

    def stage_finished(self, stage: StageInfo, artifact: Artifact, cached: bool, seconds: float) -> None:
        self._over(stage)

    def stage_failed(self, stage: StageInfo, error: Exception, seconds: float) -> None:
        self._over(stage)

    def run_finished(self, status: str, summary: Mapping[str, Any], report_dir: Path | None) -> None:
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)

    def _over(self, stage: StageInfo) -> None:
        self._running.pop(stage.id, None)
        if self._running:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        newest = {**self._running[next(reversed(self._running))], "at": time.time()}
        with contextlib.suppress(OSError):  # nobody's result: a full disk shows elsewhere
            write_text(self._file, json.dumps(newest))


def read(run_dir: Path) -> Progress | None:
    """What a run wrote last; ``None`` if there is nothing, or it cannot be read."""
    try:
        content: Progress = records.read(run_dir / FILE)
    except (OSError, InputError):
        return None
    return content if "stage" in content else None


def words(progress: Progress) -> str:
    """``stage distill, 120 of 400, about 3 min left`` or ``stage export, since 42 s``."""
    text = f"stage {progress['stage']}"
    if progress.get("total"):
        text += f", {progress.get('done', 0)} of {progress['total']}"
    left = progress.get("left_s")
    if left is not None:
        return f"{text}, about {span(max(0.0, left - (time.time() - progress['at'])))} left"
    return f"{text}, since {span(time.time() - progress['since'])}"
