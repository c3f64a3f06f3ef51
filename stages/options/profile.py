"""Where the time of the engines goes (`conf/profile`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.accuracy import NmsOptions
from stages.options.latency import LatencySettings
from stages.options.rules import COUNT, above, like, option, part


@dataclass
class ProfileSettings:
    """What each layer of an engine takes, by the runtime's own profiler; never while the engine is timed."""

    runs: int = option(20, COUNT, "instrumented runs of each engine; 0: no engine is profiled")
    max_seconds: float | None = option(
        20.0,
        above(0),
        "seconds that the instrumented runs of an engine may take; there are fewer runs then, but at least 4; null: no "
        "limit",
    )


@dataclass
class ProfileOptions(ProfileSettings):
    """Options of stage ``profile``; what disturbs a profile is what disturbs a timing."""

    max_foreign: float = like(LatencySettings, "max_foreign")
    max_drift: float = like(LatencySettings, "max_drift")
    nms: NmsOptions = part(NmsOptions, "accuracy.nms")
