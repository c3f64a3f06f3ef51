"""How fast requests may arrive, by a simulation of their queue: Poisson arrivals, first come first served by the first
stream that is free, service times as they were measured under full load.

Under less than full load an engine's streams disturb each other less, so that the rate that is found is rather too low;
the requests that then really arrive at it say whether it holds.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from stages.throughput.loaded_engine import SEED, arrivals

REQUESTS = 3000
"""That arrive in a simulation: 30 of them lie beyond the 99th percentile."""
STEPS = 12
"""Of the bisection."""


def latencies(arrived: Sequence[float], services: Sequence[float], streams: int) -> list[float]:
    """Seconds from the arrival of each request to its end, where request ``i`` takes ``services[i]``."""
    free = [0.0] * streams  # when each stream is; a heap
    found = []
    for arrival, service in zip(arrived, services, strict=True):
        end = max(arrival, free[0]) + service
        heapq.heapreplace(free, end)
        found.append(end - arrival)
    return found


def highest_rate(measured: Sequence[float], streams: int, budget: float) -> float:
    """The largest rate, requests a second, at which the 99th percentile of the latency stays within ``budget``
    seconds; 0 where that of the ``measured`` service times alone does not.

    The arrivals of all rates are the same but for their scale, so a larger one never has a smaller latency.
    """
    rng = np.random.default_rng(SEED)
    services = [float(s) for s in rng.choice(np.asarray(measured), REQUESTS)]
    unit = arrivals(REQUESTS, 1.0)

    def holds(rate: float) -> bool:
        return float(np.percentile(latencies([s / rate for s in unit], services, streams), 99)) <= budget

    low, high = 0.0, streams / float(np.mean(services))
    if holds(high):
        return high
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
