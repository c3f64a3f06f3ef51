"""What a run has so far, and how its stages run."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.execution.interpreter import OWN, Interpreter
from pipelines.execution.plan import FRESH
from stages.artifacts import Artifact
from stages.errors import DetpressError
from stages.processes.device import AUTO


@dataclass
class Results:
    """What a run has so far."""

    artifacts: dict[str, Artifact] = field(default_factory=dict)
    failures: dict[str, DetpressError] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Node id -> id of the failed node it would have needed."""
    cached: set[str] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)
    computed: dict[str, float] = field(default_factory=dict)
    """Node id -> seconds that its computation took, in whichever run that was."""
    warnings: list[str] = field(default_factory=list)
    timed_in: dict[str, str] = field(default_factory=dict)
    """Node id -> id of the earlier run that a timing was taken from."""


@dataclass(frozen=True)
class RunnerSettings:
    """How stages run, whatever they are."""

    seed: int
    timeout: float | None = None
    """Seconds that a stage may take."""
    retries: int = 0
    """How often a stage that failed while working is tried again."""
    device: str = AUTO
    """Where training, compression and scoring compute (``stages.processes.device``)."""
    timings: str = FRESH
    """When timings are taken from the store: ``FRESH``, ``plan.AUTO`` or ``ANY`` (`execution/plan.py`)."""
    python: Interpreter = OWN
    """What the workers are."""
