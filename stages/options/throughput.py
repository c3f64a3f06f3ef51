"""Throughput (`conf/latency/server.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.numerics.variants import VARIANTS
from stages.options.accuracy import NmsOptions
from stages.options.rules import COUNT, POSITIVE, above, at_least, each_at_least, option, part, some_of


@dataclass
class ServerSettings:
    """What both the section ``latency.server`` and the stage's options have."""

    p99_ms: float | None = option(
        None,
        above(0),
        "the 99th percentile of the latency that a load has to stay within, in milliseconds; null: `slack` times the "
        "median of a single stream of the FP32 engine, for all engines of the backend",
    )
    slack: float = option(2.0, above(1), "see `p99_ms`")
    cpus: int | None = option(
        None, POSITIVE, "CPUs for streams times threads; null: all that the process may use, at most `threads`"
    )
    streams: list[int] = option(
        [],
        each_at_least(1),
        "inferences at once that are tried; empty: as many as the CPUs hold, for each of `threads`",
    )
    threads: list[int] = option(
        [], each_at_least(1), "CPU threads of a stream that are tried; empty: 1, 2, 4, ... and all"
    )
    search_seconds: float = option(1.0, above(0), "seconds that each try lasts at least, in each of `search_passes`")
    search_passes: int = option(
        2, POSITIVE, "how often all tries are gone through, every other time in reverse order; the median counts"
    )
    requests: int = option(1000, at_least(10), "timed requests of each engine in each scenario; a valid p99 needs 1000")
    max_seconds: float | None = option(
        60.0,
        above(0),
        "seconds that an engine gets in each scenario, as `latency.max_seconds`; null: no limit",
    )
    rounds: int = option(5, at_least(2), "the engines of a backend are timed alternately in this many rounds")


@dataclass
class ServerConfig(ServerSettings):
    """Throughput with `latency=server`: several inferences at once on all CPUs, and how long each then takes."""

    enabled: bool = option(
        False,
        doc="measure it, on the backends that run several inferences at once (ONNX Runtime and OpenVINO on a CPU)",
    )


@dataclass
class ThroughputOptions(ServerSettings):
    """Options of stage ``throughput``; warm-up and limits are those of the latency, NMS the one that scoring uses."""

    cpus: int | None = option(1, POSITIVE, "CPUs for streams times threads")
    warmup: int = option(50, COUNT, "untimed requests of each engine before the first timed one")
    warmup_seconds: float = option(0.5, COUNT, "seconds that the warm-up lasts at least")
    max_foreign: float = option(0.05, above(0), "as `latency.max_foreign`")
    max_drift: float = option(0.1, above(0), "as `latency.max_drift`")
    nms: NmsOptions = part(NmsOptions, "accuracy.nms")
    variants: list[str] = option(
        [],
        some_of(lambda: VARIANTS, "variant"),
        "the variants that are timed, of which several may open one engine; empty: each engine as it was built",
    )


def check_server(options: ServerSettings, cpus: int | None = None) -> list[str]:
    """What is wrong with the numbers of CPUs, streams and threads together.

    Args:
        cpus: how many there are, where that is known.
    """
    problems = []
    allowed = options.cpus if options.cpus is not None else cpus
    if options.cpus is not None and cpus is not None and options.cpus > cpus:
        problems.append(f"latency.server.cpus: {options.cpus} does not fit; this process may use {cpus} CPUs")
    fewest = min(options.streams, default=1) * min(options.threads, default=1)
    if allowed is not None and fewest > allowed:
        problems.append(
            f"latency.server: {min(options.streams, default=1)} streams of {min(options.threads, default=1)} threads "
            f"need {fewest} CPUs, and there are {allowed}; name fewer in latency.server.streams or .threads"
        )
    if options.requests < options.rounds:
        problems.append(
            f"latency.server.requests: {options.requests} does not fit; it must be at least "
            f"latency.server.rounds={options.rounds}"
        )
    return problems
