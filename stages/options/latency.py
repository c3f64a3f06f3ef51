"""Timing (`conf/latency`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.numerics.variants import VARIANTS
from stages.options.accuracy import NmsOptions
from stages.options.rules import COUNT, POSITIVE, above, at_least, each, option, part, some_of
from stages.options.throughput import ServerConfig


@dataclass
class LatencySettings:
    """Timing of the engines: Runtime (the engine alone) and End2End (preprocessing, engine, NMS)."""

    warmup: int = option(
        50, COUNT, "untimed runs before the first timed one; up to twice as many while the times have not settled"
    )
    warmup_seconds: float = option(0.5, COUNT, "seconds that the warm-up lasts at least")
    runs: int = option(1000, at_least(10), "timed runs of each engine")
    max_seconds: float | None = option(
        None,
        above(0),
        "seconds that an engine gets in each mode; the timing ends after `runs` or these, whichever comes first, but "
        "not before 10 runs; null: no limit",
    )
    rounds: int = option(
        10,
        POSITIVE,
        "the engines of a backend are timed alternately in this many rounds, so that drift of the machine cancels; the "
        "interval of a speed-up comes from how the rounds differ",
    )
    max_rounds: int = option(
        20,
        POSITIVE,
        "more rounds, up to this many, as long as the interval of a speed-up straddles the limit of a gate; no more "
        "than `rounds`: never",
    )
    images: int = option(8, POSITIVE, "images that the End2End timing cycles through")
    max_foreign: float = option(
        0.05,
        above(0),
        "largest share of its CPUs' time that other processes may take before a timing is called invalid; then a "
        "speed-up has to be as near to that by processor time",
    )
    max_drift: float = option(
        0.1, above(0), "largest relative difference of two rounds' medians before a timing is called invalid"
    )
    retries: int = option(
        2,
        COUNT,
        "how often a promotion measures again if its gates on speed cannot be judged, the timing being disturbed",
    )
    retry_wait: float = option(
        60.0,
        COUNT,
        "seconds that it waits at most, each time, for other processes to take no more than `max_foreign`",
    )


@dataclass
class LatencyConfig(LatencySettings):
    """The section ``latency``: timing the engines one inference at a time and, on request, under load."""

    server: ServerConfig = part(ServerConfig)


def check_rounds(options: LatencySettings) -> list[str]:
    """What is wrong with the numbers of runs and rounds together."""
    if options.runs < options.rounds:
        return [f"latency.runs: {options.runs} does not fit; it must be at least latency.rounds={options.rounds}"]
    return []


@dataclass
class LatencyOptions(LatencySettings):
    """Options of stage ``latency``; NMS is the one that scoring uses."""

    nms: NmsOptions = part(NmsOptions, "accuracy.nms")
    names: list[str] = option(
        [],
        doc="names for the engines, in order; needed when two share a precision; the last engine is then compared with "
        "each of the others",
    )
    variants: list[str] = option(
        [],
        some_of(lambda: VARIANTS, "variant"),
        "the variants that are timed, of which several may open one engine; empty: each engine as it was built",
    )
    limits: dict[str, float] = option(
        {},
        each(above(0)),
        "limits of the gates on speed, by speed-up and mode: `over_fp32.runtime`, `over_best_float.runtime`, "
        "`against.champion.end2end`; more rounds are timed while one is undecided",
    )
