"""Waiting for a quieter machine before engines are timed again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from stages.latency.machine import busy_seconds

WINDOW = 1.0
"""Seconds over which the load is read."""

Share = Callable[[], float | None]
"""The share of this process's CPUs that is in use, read over a while; ``None`` where the system does not tell."""


def share_in_use() -> float | None:
    """How much of the CPUs that this process may use is in use, while this process itself sleeps; 0 to 1."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cpus = sorted(os.sched_getaffinity(0))
    before, began = busy_seconds(cpus), time.monotonic()
    time.sleep(WINDOW)
    after = busy_seconds(cpus)
    if before is None or after is None:
        return None
    return (after - before) / ((time.monotonic() - began) * len(cpus))


def wait_until_quiet(
    limit: float, patience: float, share: Share = share_in_use, clock: Callable[[], float] = time.monotonic
) -> float | None:
    """Return once other processes use at most ``limit`` of the CPUs, or ``patience`` seconds have passed.

    Returns:
        the last share that was read; ``None`` where there is none to read, which is not waited for.
    """
    end, found = clock() + patience, None
    while clock() < end:
        found = share()
        if found is None or found <= limit:
            break
    return found
