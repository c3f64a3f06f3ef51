"""A run's progress for a program that calls us: to a function of its own, or as plain lines that a notebook shows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from pipelines.execution.events import NullObserver, Observer, PlannedStage, StageInfo
from pipelines.runs.console import ConsoleObserver
from stages.artifacts import Artifact

BEGINS, RUNS, DONE, CACHED, FAILED = "begins", "runs", "done", "cached", "failed"


@dataclass(frozen=True)
class Progress:
    """What a function is told: a stage begins, gets on, or ended."""

    stage: str
    """Its id, e.g. ``latency.onnxruntime``."""
    state: str
    """``begins``, ``runs``, ``done``, ``cached`` or ``failed``."""
    number: int
    """Which stage of the run it is, from 1."""
    stages: int
    """How many there are, as far as is known."""
    done: int = 0
    total: int = 0
    """Of the stage while it runs: steps, images or rounds; 0 where it does not tell."""
    seconds: float | None = None
    """What it took."""


Watch = Callable[[Progress], object]


def watcher(progress: bool | Watch) -> list[Observer]:
    """Who watches the runs of a call.

    Args:
        progress: ``True``: lines on standard error, as a command prints them into a file; or a function that is called
            from the thread of the call. One that raises is not called again, and the run continues and notes it.
    """
    if callable(progress):
        return [_Caller(progress)]
    if not progress:
        return []
    lines = Console(file=sys.stderr, force_terminal=False, force_jupyter=False, highlight=False, emoji=False)
    return [ConsoleObserver(lines)]


class _Caller(NullObserver):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        self._planned: set[str] = set()
        self._number = 0

    def planned(self, stages: Sequence[PlannedStage]) -> None:
        self._planned |= {stage.id for stage in stages}

    def stage_started(self, stage: StageInfo) -> None:
        self._number += 1
        self._tell(stage, BEGINS)

    def stage_event(self, stage: StageInfo, event: Mapping[str, Any]) -> None:
        if event["event"] == "progress":
            self._tell(stage, RUNS, done=event["done"], total=event["total"])

    def stage_finished(self, stage: StageInfo, artifact: Artifact, cached: bool, seconds: float) -> None:
        self._tell(stage, CACHED if cached else DONE, seconds=seconds)

    def stage_failed(self, stage: StageInfo, error: Exception, seconds: float) -> None:
        self._tell(stage, FAILED, seconds=seconds)

    def _tell(self, stage: StageInfo, state: str, **more: Any) -> None:
        self._watch(Progress(stage.id, state, self._number, max(len(self._planned), self._number), **more))
