"""Who watches a run unless the caller names others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from pipelines.config.schema import PipelineConfig
from pipelines.execution.events import Observer
from pipelines.runs.console import ConsoleObserver

_watching: Sequence[Observer] | None = None


@contextlib.contextmanager
def watched_by(observers: Sequence[Observer]) -> Iterator[None]:
    """Let these watch each run in place of the console, for the length of a ``with``."""
    global _watching
    before, _watching = _watching, observers
    try:
        yield
    finally:
        _watching = before


def default_observers(config: PipelineConfig, *, hand_over: bool = True) -> list[Observer]:
    """The console (or who is `watched_by`), and MLflow unless it is off; ``hand_over``: see `MlflowObserver`."""
    observers: list[Observer] = [ConsoleObserver()] if _watching is None else list(_watching)
    if config.tracking.enabled:
        from pipelines.tracking.observer import MlflowObserver

        observers.append(MlflowObserver(config.tracking, hand_over=hand_over))
    return observers
