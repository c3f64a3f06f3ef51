"""Timing in turns: every engine once a round, so that what else the machine does meets all. Needs Python alone."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LEAST_ROUNDS, MOST_ROUNDS, RUNS, WARMUP = 7, 40, 10, 5


def rounds(
    engines: Mapping[str, Callable[[], object]], seconds: float, watch: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Milliseconds of one run of each engine: the median of each round.

    ``seconds``: when to begin no further round; a first one is made in any case. ``watch`` is called after each.
    """
    found: dict[str, list[float]] = {name: [] for name in engines}
    end = time.monotonic() + seconds
    for run in engines.values():
        for _ in range(WARMUP):
            run()
            if time.monotonic() > end:
                break
    for number in range(MOST_ROUNDS):
        if number and time.monotonic() > end:
            break
        for name, run in engines.items():
            times = []
            for _ in range(RUNS):
                start = time.perf_counter()
                run()
                times.append((time.perf_counter() - start) * 1e3)
                if time.monotonic() > end:
                    break
            found[name].append(statistics.median(times))
        watch()
    return found


def ratio(base: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """How many times faster ``other`` is: the median of the rounds' ratios, with bounds of at least 95 %.

    The bounds are order statistics: the k-th of n sorted ratios and the k-th from above, k the largest with a binomial
    tail (n, 1/2) below k of at most 2.5 %. With fewer than `LEAST_ROUNDS` rounds there are none.
    """
    sorted_ratios = sorted(a / b for a, b in zip(base, other, strict=True))
    n = len(sorted_ratios)
    found: dict[str, Any] = {"median": statistics.median(sorted_ratios), "low": None, "high": None, "rounds": n}
    if n >= LEAST_ROUNDS:
        tail, k = 0.0, 0
        while (tail := tail + math.comb(n, k) / 2.0**n) <= 0.025:
            k += 1
        found |= {"low": sorted_ratios[k - 1], "high": sorted_ratios[n - k]}
    return found
