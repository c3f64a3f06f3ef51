"""The scenarios of some engines, each in its own process: what is tried, and what is then timed in turns.

*offline*: everything is there, and every stream is always busy. *multi-stream*: as many requesters as streams, each of
which asks again when it has its answer (closed loop), within a budget for the 99th percentile of their latency.
*server*: requests arrive at random times, as a Poisson process, and wait in one queue (open loop), within that budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from stages.latency.timing import Plan, Round, Series, Timed, measure
from stages.options.throughput import ThroughputOptions
from stages.throughput.grid import WINDOWS, Point, Shape, fastest, pooled, window_size, within
from stages.throughput.loaded_engine import LoadRound
from stages.throughput.queueing import highest_rate

OFFLINE, MULTI_STREAM, SERVER = "offline", "multi_stream", "server"
SCENARIOS = (OFFLINE, MULTI_STREAM, SERVER)
TRIES = 3
"""How often another shape, or a lower rate, is taken for an engine whose p99 is over the budget when it is timed."""
LOWER = 0.9
"""Such a rate, of the one before."""
LEAST = 0.1
"""Of the closed loop's rate: below it the service times alone are almost over the budget, and waiting for requests
takes longer than anything else."""

Progress = Callable[[str, int, int], None]
"""(phase, done, total)."""
Tried = dict[str, dict[Shape, Point]]
"""Engine -> shape -> what it did there."""


class Loaded(Protocol):
    """An engine under load, here or in another process."""

    def open(self, shape: Shape) -> None: ...

    def look(self, shape: Shape, seconds: float) -> Point: ...

    def task(self, window: int, rate: float | None = None) -> Timed: ...

    def closing(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Timing:
    """Engines in the shapes of a scenario, timed in turns; a sample of a series is the seconds of a window."""

    shapes: dict[str, Shape]
    window: int
    series: dict[str, Series]
    rates: dict[str, float] = field(default_factory=dict)
    """At which requests arrived, a second; empty of a closed loop."""

    def latencies(self, name: str) -> list[float]:
        """The seconds of each request."""
        return [second for block in self._blocks(name) for second in block.latencies]

    def p99_ms(self, name: str) -> float:
        return 1e3 * float(np.percentile(self.latencies(name), 99))

    def rate(self, name: str) -> float:
        """Requests a second."""
        samples = self.series[name].all()
        return float(samples.size * self.window / samples.sum())

    def per_round(self, name: str) -> list[float]:
        """The same of each round."""
        return [len(s) * self.window / sum(s) for s in self.series[name].samples if s]

    def of_requests(self, name: str) -> Series:
        """The series whose samples are the seconds of each request."""
        own = self.series[name]
        return Series(own.task, [LoadRound(b.latencies, b.usage) for b in self._blocks(name)], own.warmth)

    def _blocks(self, name: str) -> list[LoadRound]:
        return [block for block in self.series[name].blocks if isinstance(block, LoadRound)]


class Scenarios:
    """Looks for the shapes, and times them."""

    def __init__(
        self,
        engines: Mapping[str, Loaded],
        options: ThroughputOptions,
        tried: Sequence[Shape],
        progress: Progress,
    ) -> None:
        """
        Args:
            engines: by variant.
            tried: the shapes that every engine is looked at in.
        """
        self.engines, self.options, self._tried, self._progress = engines, options, tried, progress
        self._open: dict[str, Shape] = {}

    def search(self) -> Tried:
        """Look at every engine in every shape, several times, every other time in reverse order."""
        o = self.options
        order = [(name, shape) for shape in self._tried for name in self.engines]
        looks: dict[tuple[str, Shape], list[Point]] = {pair: [] for pair in order}
        done, total = 0, len(order) * o.search_passes
        for turn in range(o.search_passes):
            for name, shape in order if turn % 2 == 0 else reversed(order):
                looks[name, shape].append(self.engines[name].look(shape, o.search_seconds))
                done += 1
                self._progress("search", done, total)
        return {name: {shape: pooled(looks[name, shape]) for shape in self._tried} for name in self.engines}

    def offline(self, tried: Tried) -> Timing:
        """Each engine in the shape with most images a second."""
        chosen = {name: fastest(points) for name, points in tried.items()}
        return self._timed(OFFLINE, chosen, _rates(tried, chosen))

    def multi_stream(self, tried: Tried, budget_ms: float, offline: Timing) -> Timing | None:
        """Each engine in the shape with most images a second of those whose p99 stays within the budget.

        One that stayed within it in the search and does not when it is timed gives way to the next. ``None``: no
        engine stays within it in any shape.
        """
        left = {name: held for name, points in tried.items() if (held := within(points, budget_ms))}
        found: Timing | None = None
        for _ in range(TRIES):
            chosen = {name: held[0] for name, held in left.items()}
            if not chosen:
                return None
            same = all(offline.shapes[name] == shape for name, shape in chosen.items())
            found = offline if same else self._timed(MULTI_STREAM, chosen, _rates(tried, chosen))
            over = [name for name in chosen if found.p99_ms(name) > budget_ms and len(left[name]) > 1]
            if not over:
                break
            for name in over:
                left[name] = left[name][1:]
        assert found is not None
        if found is offline:
            found = Timing(chosen, offline.window, {name: offline.series[name] for name in chosen})
        return found

    def server(self, within: Timing, budget_ms: float) -> Timing | None:
        """Each engine in the shape of the multi-stream scenario, with the highest rate at which its p99 stays within
        the budget: what the simulated queue says, and less where that does not hold. ``None``: no rate worth timing
        does."""
        found: Timing | None = None
        budget = budget_ms / 1e3
        asked = {name: highest_rate(within.latencies(name), s.streams, budget) for name, s in within.shapes.items()}
        rates = {name: rate for name, rate in asked.items() if rate >= LEAST * within.rate(name)}
        for _ in range(TRIES if rates else 0):
            found = self._timed(SERVER, {name: within.shapes[name] for name in rates}, rates, arriving=True)
            over = [name for name in rates if found.p99_ms(name) > budget_ms]
            if not over:
                break
            rates = {name: rate * (LOWER if name in over else 1.0) for name, rate in rates.items()}
        return found

    def _timed(
        self, phase: str, chosen: dict[str, Shape], rates: Mapping[str, float], *, arriving: bool = False
    ) -> Timing:
        """
        Args:
            rates: requests a second, of each engine: about what it does or, ``arriving``, at which they come.
        """
        o = self.options
        streams = [shape.streams for shape in chosen.values()]
        window = window_size(streams, o.requests, o.rounds, o.max_seconds, min(rates[name] for name in chosen))
        for name, shape in chosen.items():
            if self._open.get(name) != shape:
                self.engines[name].open(shape)
                self._open[name] = shape
        tasks = [self.engines[name].task(window, rates[name] if arriving else None) for name in chosen]
        runs = max(o.rounds * WINDOWS, math.ceil(o.requests / window))
        plan = Plan(o.warmup, runs, o.rounds, o.max_seconds, o.warmup_seconds)
        made = measure(tasks, plan, lambda done, total: self._progress(phase, done, total))
        arrived = {name: rates[name] for name in chosen} if arriving else {}
        return Timing(chosen, window, dict(zip(chosen, made, strict=True)), arrived)


def simulated(within: Timing, budget_ms: float) -> dict[str, Series]:
    """Of each engine the seconds between requests at the highest rate, by the service times of each round alone.

    They stand in the place of every sample of the round, so that what the machine did in it speaks for them too.
    """
    found = {}
    for name, own in within.series.items():
        blocks = []
        for block, requests in zip(own.blocks, within.of_requests(name).blocks, strict=True):
            rate = highest_rate(requests.samples, within.shapes[name].streams, budget_ms / 1e3)
            blocks.append(Round([1 / rate] * len(block.samples) if rate > 0 else [], block.usage))
        found[name] = Series(own.task, blocks, own.warmth)
    return found


def _rates(tried: Tried, chosen: Mapping[str, Shape]) -> dict[str, float]:
    return {name: tried[name][shape].rate for name, shape in chosen.items()}
