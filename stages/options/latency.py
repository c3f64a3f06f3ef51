"""Timing (`conf/latency`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from stages.options.accuracy import NmsOptions


@dataclass
class LatencySettings:
    """Timing: the part the user sets (``conf/latency``)."""

    warmup: int = 50
    """Untimed runs before the first timed one; more, up to twice as many, while the times have not settled."""
    warmup_seconds: float = 0.5
    """How long the warm-up lasts at least."""
    runs: int = 1000
    """Timed runs per engine; the seed's table has 1000."""
    max_seconds: float | None = None
    """Time budget per engine and mode; the runs end at ``runs`` or here, whichever is first (at least 10)."""
    rounds: int = 10
    """FP32 and INT8 are timed alternately in this many rounds, so that drift of the machine cancels; the interval of
    the speed-up comes from how the rounds differ."""
    images: int = 8
    """Images that the End2End timing cycles through."""
    max_foreign: float = 0.05
    """Largest share of its CPUs' time that others may take before a timing is called invalid."""
    max_drift: float = 0.1
    """Largest relative difference of two rounds' medians before a timing is called invalid."""


@dataclass
class LatencyOptions(LatencySettings):
    """Options of stage ``latency``; NMS is the one that scoring uses."""

    nms: NmsOptions = field(default_factory=NmsOptions)
    names: list[str] = field(default_factory=list)
    """What to call the engines, in their order, where their precisions do not tell them apart; the last one's speed-up
    against each other is told then."""
