"""Timing of callables, interleaved, with an injected clock; and the statistics of what was timed.

Nothing here knows what an engine is. All times are seconds here and milliseconds in what `summary` gives.
"""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from stages.latency.machine import Usage, UsageMeter
from stages.numerics.student_t import student

Clock = Callable[[], int]
"""Nanoseconds of a monotonic clock."""
ProgressCallback = Callable[[int], None]
"""Told how many runs of a turn are done, between runs, at most once a second."""

LEAST_RUNS = 10
"""Runs per task that a time budget never cuts."""
REWARM = 5
"""Untimed runs when a task gets its turn again: the other tasks have taken the caches."""
WARMUP_SHARE = 0.25
"""Largest part of a time budget that warming up may take, beside it."""
WINDOW = 10
"""Runs whose medians are compared to see whether the times have settled."""
SETTLED = 0.02
"""Relative difference of two windows' medians that counts as settled."""


@dataclass(frozen=True)
class Warmup:
    """How a task was warmed up; ``stable`` is ``None`` where too few runs were asked for to tell."""

    runs: int = 0
    seconds: float = 0.0
    stable: bool | None = None


@dataclass(frozen=True)
class Round:
    """The seconds of one turn's runs, and what the machine did meanwhile."""

    samples: list[float]
    usage: Usage | None = None


class Timed(Protocol):
    """Something that can be timed, here or in another process."""

    name: str

    def warm(self, runs: int, seconds: float, limit: float) -> Warmup:
        """Run untimed: at least ``runs`` times and ``seconds``, until it has settled; at most ``limit`` seconds."""

    def take(self, runs: int, least: int, budget: float, first: int, tell: ProgressCallback) -> Round:
        """Time up to ``runs`` runs, numbered from ``first``; after ``least`` the ``budget`` of seconds may end them."""


class Task:
    """A callable of this process: ``run(i)`` is the i-th run."""

    def __init__(
        self,
        name: str,
        run: Callable[[int], object],
        clock: Clock = time.perf_counter_ns,
        watch: UsageMeter | None = None,
    ) -> None:
        self.name, self.run, self.clock, self.watch = name, run, clock, watch

    def warm(self, runs: int, seconds: float, limit: float) -> Warmup:
        took: list[float] = []
        began = before = self.clock()
        most = 2 * max(runs, WINDOW) if runs > REWARM else runs
        while runs:
            self.run(len(took))
            now = self.clock()
            took.append((now - before) * 1e-9)
            before = now
            spent = (now - began) * 1e-9
            if spent > limit:
                break
            if len(took) >= runs and spent >= seconds and (len(took) >= most or settled(took) is not False):
                break
        stable = settled(took) if runs > REWARM else None
        return Warmup(len(took), sum(took), stable)

    def take(self, runs: int, least: int, budget: float, first: int, tell: ProgressCallback) -> Round:
        samples: list[float] = []
        clock, run = self.clock, self.run
        spent, last = 0.0, clock()
        with no_garbage_collection():
            if self.watch:
                self.watch.start()
            while len(samples) < runs and (len(samples) < least or spent < budget):
                start = clock()
                run(first + len(samples))
                end = clock()
                samples.append((end - start) * 1e-9)
                spent += samples[-1]
                if end - last > 1_000_000_000:
                    tell(len(samples))
                    last = end
            usage = self.watch.stop() if self.watch else None
        return Round(samples, usage)


def settled(took: Sequence[float]) -> bool | None:
    """Whether the last two windows of runs took the same time; ``None`` with less than two windows."""
    if len(took) < 2 * WINDOW:
        return None
    before, last = (float(np.median(took[a:b])) for a, b in ((-2 * WINDOW, -WINDOW), (-WINDOW, len(took))))
    return abs(last - before) <= SETTLED * before


@dataclass
class Series:
    """All turns of one task."""

    task: Timed
    blocks: list[Round] = field(default_factory=list)
    warmth: Warmup = field(default_factory=Warmup)

    @property
    def samples(self) -> list[list[float]]:
        """The seconds of each round."""
        return [block.samples for block in self.blocks]

    def all(self) -> npt.NDArray[np.float64]:
        """The samples of all rounds, in the order they were taken."""
        return np.asarray([s for part in self.samples for s in part], np.float64)


@dataclass(frozen=True)
class Plan:
    """How often each task runs; see `stages.options.LatencyOptions`."""

    warmup: int
    runs: int
    rounds: int
    max_seconds: float | None = None
    warmup_seconds: float = 0.0
    max_rounds: int = 0

    def share(self, r: int) -> int:
        """Runs of round ``r``; further rounds have as many as the last of the ``rounds``."""
        return self.runs // self.rounds + (1 if r < self.runs % self.rounds else 0)


def measure(
    tasks: Sequence[Timed],
    plan: Plan,
    progress: Callable[[int, int], None] = lambda done, total: None,
    undecided: Callable[[list[Series]], bool] = lambda series: False,
) -> list[Series]:
    """Time the tasks in turn, ``plan.rounds`` times; every other round in reverse order, so that drift cancels.

    As long as it is ``undecided``, as many rounds again follow, up to ``plan.max_rounds``. It is asked that seldom
    because an interval that is looked at again and again ends on one side of any limit by chance.

    The garbage collector is off while runs are timed, and ``progress(done, total)`` is called between runs, at most
    once a second, and after each turn.
    """
    if plan.rounds < 1 or plan.runs < plan.rounds:
        raise ValueError(f"{plan.runs} runs cannot be split into {plan.rounds} rounds")
    series = [Series(task) for task in tasks]
    total, done = plan.runs * len(tasks), 0
    budget = math.inf if plan.max_seconds is None else plan.max_seconds / plan.rounds
    limit = math.inf if plan.max_seconds is None else plan.max_seconds * WARMUP_SHARE
    r, rounds = 0, plan.rounds
    while r < rounds:
        share = plan.share(r)
        least = min(share, math.ceil(LEAST_RUNS / plan.rounds))
        for own in series if r % 2 == 0 else reversed(series):
            if r == 0:
                own.warmth = own.task.warm(plan.warmup, plan.warmup_seconds, limit)
            else:
                own.task.warm(min(plan.warmup, REWARM), 0.0, limit)
            first = sum(len(part) for part in own.samples)
            own.blocks.append(own.task.take(share, least, budget, first, _counted(progress, done, total)))
            done += share
            progress(done, total)
        r += 1
        if r == rounds < plan.max_rounds and undecided(series):
            rounds = min(2 * rounds, plan.max_rounds)
            total += sum(map(plan.share, range(r, rounds))) * len(tasks)
    return series


def _counted(progress: Callable[[int, int], None], before: int, total: int) -> ProgressCallback:
    return lambda n: progress(before + n, total)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """For the length of a ``with``, what is timed is not held up by it."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def choose_cpus(threads: int) -> list[int]:
    """The CPUs to pin ``threads`` threads to: the last that this process may use.

    The operating system's interrupts tend to land on the first. An empty list where the operating system cannot pin
    (macOS, Windows): the caller has to say so.

    Raises:
        ValueError: the process may use fewer CPUs than that.
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    usable = os.sched_getaffinity(0)
    if threads > len(usable):
        raise ValueError(f"{threads} threads are asked for, but this process may use {len(usable)} CPUs")
    return sorted(usable)[-threads:]


def summary(samples: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Statistics of one task: ``count`` and, in milliseconds, mean, median, percentiles, standard deviation, extremes.

    Percentiles interpolate linearly between order statistics; ``std`` is that of a sample (n - 1); ``cv`` = std / mean.
    """
    if samples.size == 0:
        raise ValueError("no samples")
    ms = samples * 1e3
    p50, p90, p95, p99 = (float(p) for p in np.percentile(ms, [50, 90, 95, 99]))
    mean = float(ms.mean())
    std = float(ms.std(ddof=1)) if ms.size > 1 else 0.0
    return {
        "count": int(ms.size),
        "mean_ms": mean,
        "median_ms": p50,
        "p50_ms": p50,
        "p90_ms": p90,
        "p95_ms": p95,
        "p99_ms": p99,
        "std_ms": std,
        "cv": std / mean if mean > 0 else 0.0,
        "min_ms": float(ms.min()),
        "max_ms": float(ms.max()),
    }


def speedup(base: Series, other: Series) -> dict[str, Any]:
    """How many times faster ``other`` is than ``base``: the ratio of medians of each round, and the geometric mean.

    Medians over all rounds would be of two mixtures where the clock changed between rounds, and their ratio anything;
    a clock that is the same in both turns of a round leaves the round's ratio. ``low`` and ``high`` bound it with 95 %
    confidence: Student's t on the logarithms of the rounds' ratios, since runs of one round are not independent of
    each other. ``None`` with a single round.
    """
    rounds = [float(np.median(a) / np.median(b)) for a, b in zip(base.samples, other.samples, strict=True) if a and b]
    logs = np.log(rounds)
    ratio = math.exp(float(np.mean(logs)))
    low = high = None
    if len(rounds) > 1:
        spread = student(len(rounds) - 1) * float(np.std(logs, ddof=1)) / math.sqrt(len(rounds))
        low, high = ratio * math.exp(-spread), ratio * math.exp(spread)
    return {"median": ratio, "low": low, "high": high, "rounds": rounds}
