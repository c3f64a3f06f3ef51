"""What a run has to reach (`conf/gate`)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ChampionGateOptions:
    """What a challenger has to reach beside the champion (``gate.champion``); ``None``: not asked for."""

    max_map_drop: float | None = 2.0
    """Points of mAP below the champion, on the same images."""
    max_class_drop: float | None = None
    """The same for the worst class."""
    min_speedup: float | None = 0.9
    """Runtime of the champion / Runtime of the challenger, timed alternately."""
    min_end2end_speedup: float | None = None
    """The same for End2End."""
    max_size_ratio: float | None = None
    """Size of the challenger / size of the champion, all files of the engine."""


@dataclass
class GateOptions:
    """What a run has to reach (``conf/gate``); ``None``: not asked for. Judged on every engine of reduced precision.

    Where a number has an interval, the gate holds only if the interval's worse bound does.
    """

    max_map_drop: float | None = None
    """Points of mAP below FP32."""
    max_class_drop: float | None = None
    """The same for the worst class."""
    max_size_drop: float | None = None
    """The same for the worst of small, medium and large boxes."""
    min_speedup: float | None = None
    """Runtime of FP32 / Runtime of the engine."""
    min_end2end_speedup: float | None = None
    """The same for End2End."""
    max_latency_ms: float | None = None
    """Median of Runtime, per run (that is, per batch)."""
    max_end2end_ms: float | None = None
    """Median of End2End, per run."""
    max_engine_mb: float | None = None
    """All files of the engine, in 10^6 bytes."""
    min_int8_share: float | None = None
    """Share of multiply-adds that really run in INT8, 0 to 1."""
    require_valid: bool = False
    """Gates on speed fail where the timing's verdict is not ``valid``."""
    champion: ChampionGateOptions = field(default_factory=ChampionGateOptions)
    """What a promotion asks for beside this, if there is a champion."""
