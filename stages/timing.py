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
from typing import Any

import numpy as np
import numpy.typing as npt

Clock = Callable[[], int]
"""Nanoseconds of a monotonic clock."""

LEAST_RUNS = 10
"""Runs per task that a time budget never cuts."""
REWARM = 5
"""Untimed runs when a task gets its turn again: the other tasks have taken the caches."""
WARMUP_SHARE = 0.25
"""Largest part of a time budget that warming up may take, beside it."""


@dataclass
class Task:
    """Something to time: ``run(i)`` is the i-th run. ``samples[r]`` are the seconds of round r."""

    name: str
    run: Callable[[int], object]
    samples: list[list[float]] = field(default_factory=list)

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


def measure(
    tasks: Sequence[Task],
    plan: Plan,
    clock: Clock = time.perf_counter_ns,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Time the tasks in turn, ``plan.rounds`` times; every other round in reverse order, so that drift cancels.

    The garbage collector is off while runs are timed, and ``progress(done, total)`` is called between runs, at most
    once a second.
    """
    if plan.rounds < 1 or plan.runs < plan.rounds:
        raise ValueError(f"{plan.runs} runs cannot be split into {plan.rounds} rounds")
    total, done, last = plan.runs * len(tasks), 0, clock()
    with _no_garbage_collection():
        for r in range(plan.rounds):
            share = plan.runs // plan.rounds + (1 if r < plan.runs % plan.rounds else 0)
            least = min(share, math.ceil(LEAST_RUNS / plan.rounds))
            budget = math.inf if plan.max_seconds is None else plan.max_seconds / plan.rounds
            for task in tasks if r % 2 == 0 else reversed(tasks):
                gc.collect()
                _warm(task, plan.warmup if r == 0 else min(plan.warmup, REWARM), plan.max_seconds, clock)
                samples: list[float] = []
                task.samples.append(samples)
                offset = sum(len(part) for part in task.samples)
                spent = 0.0
                while len(samples) < share and (len(samples) < least or spent < budget):
                    start = clock()
                    task.run(offset + len(samples))
                    end = clock()
                    samples.append((end - start) * 1e-9)
                    spent += samples[-1]
                    if end - last > 1_000_000_000:
                        progress(done + len(samples), total)
                        last = end
                done += share
                progress(done, total)


def _warm(task: Task, runs: int, max_seconds: float | None, clock: Clock) -> None:
    """Run untimed, at most ``runs`` times or for the warm-up's share of the budget; at least once if asked at all."""
    limit = math.inf if max_seconds is None else max_seconds * WARMUP_SHARE
    start = clock()
    for i in range(runs):
        task.run(i)
        if (clock() - start) * 1e-9 > limit:
            return


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def pinned(threads: int) -> Iterator[list[int]]:
    """Keep this process on ``threads`` CPUs and give their numbers.

    They are the last ones that it may use, since the operating system's interrupts tend to land on the first.
    An empty list where the operating system cannot pin (macOS, Windows): the caller has to say so.

    Raises:
        ValueError: the process may use fewer CPUs than that.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield []
        return
    before = os.sched_getaffinity(0)
    if threads > len(before):
        raise ValueError(f"{threads} threads are asked for, but this process may use {len(before)} CPUs")
    chosen = sorted(before)[-threads:]
    os.sched_setaffinity(0, chosen)
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)


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


def speedup(base: Task, other: Task) -> dict[str, Any]:
    """How many times faster ``other`` is than ``base``: the ratio of medians, over all runs and per round."""
    rounds = [float(np.median(a) / np.median(b)) for a, b in zip(base.samples, other.samples, strict=True) if a and b]
    return {"median": float(np.median(base.all()) / np.median(other.all())), "rounds": rounds}
