"""Which streams and threads are tried, and which of them a scenario takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

WINDOWS = 4
"""Of a turn."""
MEMORY_SHARE = 0.8
"""Of the memory that is available; the rest is for what grows meanwhile."""


@dataclass(frozen=True, order=True)
class Shape:
    """How an engine is opened: so many inferences at once, with so many CPU threads each."""

    streams: int
    threads: int

    @property
    def cpus(self) -> int:
        return self.streams * self.threads


@dataclass(frozen=True)
class Point:
    """An engine in one shape under closed-loop load: seconds of its requests, requests a second."""

    shape: Shape
    rate: float
    latencies: list[float]

    @property
    def p50_ms(self) -> float:
        return 1e3 * float(np.percentile(self.latencies, 50))

    @property
    def p99_ms(self) -> float:
        return 1e3 * float(np.percentile(self.latencies, 99))


Points = Mapping[Shape, Point]


def shapes(cpus: int, streams: Sequence[int] = (), threads: Sequence[int] = ()) -> list[Shape]:
    """The shapes that fit ``cpus``: each of ``threads`` (none: 1, 2, 4, ... and all) with each of ``streams`` (none:
    as many as fill the CPUs). From many streams of few threads, where most images are done a second, to few streams of
    many, where each is done soonest."""
    per_stream = threads or sorted({min(2**i, cpus) for i in range(cpus.bit_length() + 1)})
    found = [Shape(s, t) for t in per_stream for s in (streams or [cpus // t]) if s and s * t <= cpus]
    return sorted(set(found), key=lambda shape: (shape.threads, shape.streams))


def fitting(found: Sequence[Shape], bytes_per_stream: int, available: int | None) -> tuple[list[Shape], list[Shape]]:
    """The shapes whose sessions have room in memory, and those that have not.

    Args:
        bytes_per_stream: of a session of every engine, since all are open at the same time.
        available: bytes; ``None``: not known, then all have.
    """
    if available is None:
        return list(found), []
    small = [shape for shape in found if shape.streams * bytes_per_stream <= MEMORY_SHARE * available]
    return small, [shape for shape in found if shape not in small]


def pooled(looks: Sequence[Point]) -> Point:
    """Several looks at one shape: the median of the rates, and all latencies."""
    rate = float(np.median([look.rate for look in looks]))
    return Point(looks[0].shape, rate, [seconds for look in looks for seconds in look.latencies])


def fastest(points: Points) -> Shape:
    """The shape with most requests a second."""
    return max(points.values(), key=lambda point: point.rate).shape


def within(points: Points, budget_ms: float) -> list[Shape]:
    """The shapes whose p99 stays within the budget, the one with most requests a second first."""
    held = [point for point in points.values() if point.p99_ms <= budget_ms]
    return [point.shape for point in sorted(held, key=lambda point: -point.rate)]


def window_size(streams: Sequence[int], requests: int, rounds: int, seconds: float | None, slowest: float) -> int:
    """Requests of a window: the same for all engines that are compared, and a multiple of the requests at once of each.

    A turn has about `WINDOWS` of them, so that its median leaves out a disturbance of a moment and is yet of many
    requests.

    Args:
        streams: of each engine.
        seconds: that an engine gets in all; ``None``: no limit.
        slowest: requests a second of the slowest engine.
    """
    whole = math.lcm(*streams)
    wanted = requests / (rounds * WINDOWS)
    if seconds is not None:
        wanted = min(wanted, seconds / (rounds * WINDOWS) * slowest)
    return max(1, round(wanted / whole)) * whole
