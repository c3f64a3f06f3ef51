"""Who watches a run unless the caller names others."""

from __future__ import annotations

from pipelines.config.schema import PipelineConfig
from pipelines.execution.events import Observer
from pipelines.runs.console import ConsoleObserver


def default_observers(config: PipelineConfig, *, hand_over: bool = True) -> list[Observer]:
    """The console, and MLflow unless it is switched off; ``hand_over``: see `MlflowObserver`."""
    observers: list[Observer] = [ConsoleObserver()]
    if config.tracking.enabled:
        from pipelines.tracking.observer import MlflowObserver

        observers.append(MlflowObserver(config.tracking, hand_over=hand_over))
    return observers
