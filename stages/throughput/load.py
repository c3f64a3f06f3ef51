"""Load on a few callables that run at once: closed loop, where each asks again as soon as it has its answer, or open
loop, where requests arrive when they will and wait in one queue.

Every callable has a thread, which sleeps in native code while an engine computes. The thread that started them sleeps
too, so nobody takes the CPU from the engine.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stages.latency.machine import Usage, UsageMeter

TELL_SECONDS = 1.0

Enough = Callable[[int, float], bool]
"""(requests done, seconds since the beginning) -> whether the load ends."""
Clock = Callable[[], float]
"""Seconds of a monotonic clock."""


@dataclass(frozen=True)
class Load:
    """The requests that were done, in the order of their ends.

    Attributes:
        ends: seconds since the beginning.
        latencies: seconds from the arrival of a request (closed loop: from its start) to its end.
        usage: what the machine did meanwhile.
    """

    ends: list[float]
    latencies: list[float]
    usage: Usage | None = None

    def windows(self, size: int) -> list[float]:
        """The seconds that each ``size`` requests in a row took; a rest is left out.

        With a multiple of the requests at once, what those that run at the same time share is in every window alike.
        """
        marks = [0.0, *self.ends[size - 1 :: size]]
        return [later - before for before, later in itertools.pairwise(marks)]


def run(
    calls: Sequence[Callable[[], object]],
    enough: Enough,
    *,
    arrivals: Sequence[float] | None = None,
    watch: UsageMeter | None = None,
    tell: Callable[[int], None] = lambda done: None,
    clock: Clock = time.perf_counter,
) -> Load:
    """Load ``calls`` until it is enough; what then still runs is awaited and not counted.

    Args:
        arrivals: seconds after the beginning at which requests arrive, in order; each is done by the first callable
            that is free. ``None``: closed loop.
        tell: told how many requests are done, once a second.

    Raises:
        what a callable raised.
    """
    over, ready = threading.Event(), threading.Barrier(len(calls) + 1)
    taken, done = itertools.count(), itertools.count(1)  # one step of either is atomic
    found: list[list[tuple[float, float]]] = [[] for _ in calls]
    failed: list[BaseException] = []
    began = 0.0

    def serve(call: Callable[[], object], own: list[tuple[float, float]]) -> None:
        ready.wait()
        while not over.is_set():
            start = clock()
            if arrivals is not None:
                number = next(taken)
                if number >= len(arrivals):
                    return
                start = began + arrivals[number]
                if (ahead := start - clock()) > 0 and over.wait(ahead):
                    return
            call()
            end = clock()
            own.append((end - began, end - start))
            if enough(next(done), end - began):
                over.set()

    def work(call: Callable[[], object], own: list[tuple[float, float]]) -> None:
        try:
            serve(call, own)
        except BaseException as error:  # raised again by whoever waits
            failed.append(error)
            over.set()

    threads = [threading.Thread(target=work, args=pair) for pair in zip(calls, found, strict=True)]
    try:
        for thread in threads:
            thread.start()
    except RuntimeError:  # there are no more threads; those that are there wait for the others
        ready.abort()
        raise
    if watch:
        watch.start()
    began = clock()
    ready.wait()
    while not over.wait(TELL_SECONDS):
        tell(sum(map(len, found)))
        if not any(thread.is_alive() for thread in threads):
            break  # all that was to arrive has been done
    usage = watch.stop() if watch else None
    counted = [len(own) for own in found]  # what ends after the watch has stopped is nobody's
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    pairs = sorted(pair for own, count in zip(found, counted, strict=True) for pair in own[:count])
    return Load([end for end, _ in pairs], [latency for _, latency in pairs], usage)
