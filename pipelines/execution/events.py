"""What a run tells those who watch it: the tracker and the console are observers of the runner.

The runner calls the methods in this order, from one thread::

    run_started  planned*  (stage_started  stage_event*  stage_finished | stage_failed)*  run_finished

A stage whose result lies in the store already gets ``stage_started`` and ``stage_finished(cached=True)`` with nothing
in between. Stages may overlap; events of different stages then interleave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from stages.artifacts import Artifact


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """A pipeline run, as it is known before its first stage."""

    run_id: str
    name: str
    """What people call it, e.g. ``compress · tiny · shapes · 10:15``."""
    pipeline: str
    model: str
    data: str
    config: Mapping[str, Any]
    """The resolved config: nested dicts and lists of plain values."""
    command: str
    hardware: str
    commit: str | None = None
    """Git commit of the code, if it lies in a repository."""
    run_dir: Path
    """Where the run writes its report; ``tracking.jsonl`` goes there when the tracking store cannot be reached."""
    resumed_from: str | None = None
    """``run_id`` of the interrupted run that this one continues."""


@dataclass(frozen=True, kw_only=True)
class StageInfo:
    """A node of the run's graph."""

    id: str
    """Unique within the run, e.g. ``latency.onnxruntime``."""
    stage: str
    """The stage's name in ``stages/catalog.py``."""
    key: str
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Field name of the stage's inputs -> the artifact's digest (``contract.input_digests``)."""
    backend: str | None = None
    precision: str | None = None


@dataclass(frozen=True)
class PlannedStage:
    """A stage that is about to run, or to be taken from the store."""

    id: str
    cached: bool = False
    seconds: float | None = None
    """What it is likely to take; ``None`` where nothing is known."""
    rough: bool = False
    """That is scaled from another model's, or a guess."""
    shorter: str | None = None
    """An override that makes it quick, for a first try."""


class Observer(Protocol):
    """Someone who watches a run. No method may take noticeable time: the runner waits for it."""

    @property
    def warnings(self) -> Sequence[str]:
        """What the user has to be told at the end of the run; read after ``run_finished``."""

    def run_started(self, run: RunInfo) -> None: ...

    def planned(self, stages: Sequence[PlannedStage]) -> None:
        """What follows, as far as it is known; a run that finds more to do plans again."""

    def stage_started(self, stage: StageInfo) -> None: ...

    def stage_event(self, stage: StageInfo, event: Mapping[str, Any]) -> None:
        """One line of the worker: ``{"event": "metric" | "progress" | "warning" | "info", ...}``.

        An info that has ``"detail": True`` is for those who look into it.
        """

    def stage_finished(self, stage: StageInfo, artifact: Artifact, cached: bool, seconds: float) -> None: ...

    def stage_failed(self, stage: StageInfo, error: Exception, seconds: float) -> None: ...

    def run_finished(self, status: str, summary: Mapping[str, Any], report_dir: Path | None) -> None:
        """The run's end: ``status`` is FINISHED, FAILED or KILLED; ``summary`` is plain data for people."""


class NullObserver:
    """Sees everything and does nothing; a base class for observers that need only some of the methods."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def run_started(self, run: RunInfo) -> None: ...

    def planned(self, stages: Sequence[PlannedStage]) -> None: ...

    def stage_started(self, stage: StageInfo) -> None: ...

    def stage_event(self, stage: StageInfo, event: Mapping[str, Any]) -> None: ...

    def stage_finished(self, stage: StageInfo, artifact: Artifact, cached: bool, seconds: float) -> None: ...

    def stage_failed(self, stage: StageInfo, error: Exception, seconds: float) -> None: ...

    def run_finished(self, status: str, summary: Mapping[str, Any], report_dir: Path | None) -> None: ...


class Observers:
    """Hands each event to every observer. One that raises is dropped with a warning; the run continues."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._all: list[Observer] = list(observers)
        self._live: list[Observer] = list(observers)
        self._dropped: list[str] = []

    def add(self, observer: Observer) -> None:
        """Let one more watch."""
        self._all.append(observer)
        self._live.append(observer)

    @property
    def warnings(self) -> list[str]:
        """What all observers want the user to know, and who was dropped."""
        return [*self._dropped, *(w for observer in self._all for w in observer.warnings)]

    def _tell(self, method: str, *arguments: Any) -> None:
        for observer in list(self._live):
            try:
                getattr(observer, method)(*arguments)
            except Exception as error:  # an observer is a guest: whatever it raises, the run is not its to stop
                self._live.remove(observer)
                self._dropped.append(
                    f"{type(observer).__name__} failed in {method} and was told nothing more of this run: "
                    f"{type(error).__name__}: {error}"
                )

    def run_started(self, run: RunInfo) -> None:
        self._tell("run_started", run)

    def planned(self, stages: Sequence[PlannedStage]) -> None:
        self._tell("planned", stages)

    def stage_started(self, stage: StageInfo) -> None:
        self._tell("stage_started", stage)

    def stage_event(self, stage: StageInfo, event: Mapping[str, Any]) -> None:
        self._tell("stage_event", stage, event)

    def stage_finished(self, stage: StageInfo, artifact: Artifact, cached: bool, seconds: float) -> None:
        self._tell("stage_finished", stage, artifact, cached, seconds)

    def stage_failed(self, stage: StageInfo, error: Exception, seconds: float) -> None:
        self._tell("stage_failed", stage, error, seconds)

    def run_finished(self, status: str, summary: Mapping[str, Any], report_dir: Path | None) -> None:
        self._tell("run_finished", status, summary, report_dir)
