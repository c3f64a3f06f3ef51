"""What a run has to reach (`conf/gate`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.rules import COUNT, SHARE, above, option, part


@dataclass
class ChampionGateOptions:
    """What a challenger has to reach when it is measured beside the champion; null: not asked for."""

    max_map_drop: float | None = option(
        2.0, COUNT, "points of mAP that the challenger may lie below the champion, on the same images"
    )
    max_class_drop: float | None = option(None, COUNT, "the same for the class that loses most")
    min_speedup: float | None = option(
        0.9, above(0), "smallest Runtime of the champion / Runtime of the challenger, timed alternately"
    )
    min_end2end_speedup: float | None = option(None, above(0), "the same for End2End")
    max_size_ratio: float | None = option(
        None, above(0), "largest size of the challenger / size of the champion, all files of the engine"
    )


@dataclass
class GateOptions:
    """What every engine of reduced precision has to reach; null: not asked for.

    Where a number has an interval, the gate holds only if the interval's worse bound does.
    """

    max_map_drop: float | None = option(None, COUNT, "points of mAP that may be lost against FP32")
    max_class_drop: float | None = option(None, COUNT, "the same for the class that loses most")
    max_size_drop: float | None = option(None, COUNT, "the same for small, medium or large boxes, whichever loses most")
    min_speedup: float | None = option(None, above(0), "smallest Runtime of FP32 / Runtime of the engine")
    min_end2end_speedup: float | None = option(None, above(0), "the same for End2End")
    min_speedup_over_float: float | None = option(
        None,
        above(0),
        "smallest Runtime of the backend's fastest float engine (FP32, or FP16 or BF16 if they are built) / Runtime of "
        "the engine",
    )
    max_latency_ms: float | None = option(
        None, above(0), "largest median of Runtime in milliseconds, per run (that is, per batch)"
    )
    max_end2end_ms: float | None = option(None, above(0), "largest median of End2End in milliseconds, per run")
    max_engine_mb: float | None = option(None, above(0), "largest size of all files of the engine, in 10^6 bytes")
    min_int8_share: float | None = option(
        None, SHARE, "smallest share of multiply-adds that really run in INT8, 0 to 1"
    )
    require_valid: bool = option(
        False,
        doc="count gates on speed as failed that could not be judged because the timing was disturbed; a promotion "
        "measures again instead",
    )
    accept_disturbed: bool = option(
        False, doc="judge gates on speed by disturbed timings too; the evidence of a promotion says so"
    )
    champion: ChampionGateOptions = part(ChampionGateOptions)
