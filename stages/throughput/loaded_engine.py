"""One engine, opened in this process with as many sessions as it is to run inferences at once, and loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from stages import backends
from stages.backends.base import Session, Streaming
from stages.detection.images import Image, read_image
from stages.errors import StageError
from stages.latency.machine import UsageMeter, memory_mb
from stages.latency.timed_engine import Setup, TimedModes
from stages.latency.timing import ProgressCallback, Round, Warmup, no_garbage_collection
from stages.throughput import load
from stages.throughput.grid import Point, Shape

SEED = 0
"""Of the arrivals: those of all engines and rounds are the same, but for their rate."""


@dataclass(frozen=True)
class LoadRound(Round):
    """``samples`` are the seconds of each window of requests; ``latencies`` those of each request."""

    latencies: list[float] = field(default_factory=list)


class LoadTask:
    """A ``stages.latency.timing.Timed`` whose runs are windows of so many requests."""

    def __init__(
        self, calls: Sequence[Callable[[], object]], window: int, rate: float | None, watch: UsageMeter | None
    ) -> None:
        """
        Args:
            window: requests.
            rate: at which requests arrive, a second, as a Poisson process; ``None``: closed loop.
        """
        self.name = "load"
        self._calls, self._window, self._rate, self._watch = calls, window, rate, watch

    def warm(self, runs: int, seconds: float, limit: float) -> Warmup:
        """At least ``runs`` requests."""
        found = load.run(self._calls, lambda n, spent: (n >= runs and spent >= seconds) or spent >= limit)
        return Warmup(len(found.ends), found.ends[-1])

    def take(self, runs: int, least: int, budget: float, first: int, tell: ProgressCallback) -> LoadRound:
        size = self._window
        with no_garbage_collection():
            found = load.run(
                self._calls,
                lambda n, spent: n >= runs * size or (n >= least * size and spent >= budget),
                arrivals=None if self._rate is None else arrivals(runs * size, self._rate, first),
                watch=self._watch,
                tell=lambda done: tell(done // size),
            )
        return LoadRound(found.windows(size)[:runs], found.usage, found.latencies)


def arrivals(count: int, rate: float, first: int = 0) -> list[float]:
    """The seconds at which requests of a Poisson process arrive; ``first`` tells stretches of it apart."""
    gaps = np.random.default_rng([SEED, first]).exponential(1 / rate, count)
    return [float(second) for second in np.cumsum(gaps)]


class LoadedEngine:
    """An engine that is opened in one shape after another; made by `opened`."""

    def __init__(self, setup: Setup, backend: Streaming, images: Sequence[Image], watched: bool) -> None:
        self._setup, self._backend, self._images = setup, backend, images
        self._watch = UsageMeter(setup.cpus) if watched else None
        self._stack = ExitStack()
        self._calls: list[Callable[[], object]] = []

    def open(self, shape: Shape) -> None:
        """Close what is open, and open this; each of its sessions runs once."""
        self.close()
        engine = self._setup.engine
        sessions = self._stack.enter_context(self._backend.open_streams(engine, shape.streams, shape.threads))
        feeds = TimedModes(engine, sessions[0], self._images, self._setup.nms, perf_counter_ns).feeds
        self._calls = [_call(session, feeds) for session in sessions]
        for call in self._calls:
            call()

    def look(self, shape: Shape, seconds: float) -> Point:
        """Open a shape and load it (closed loop) for at least ``seconds``."""
        self.open(shape)
        least = 5 * shape.streams
        found = load.run(self._calls, lambda n, spent: n >= least and spent >= seconds)
        whole = len(found.ends) // shape.streams * shape.streams
        return Point(shape, whole / found.ends[whole - 1], found.latencies)

    def task(self, window: int, rate: float | None = None) -> LoadTask:
        return LoadTask(self._calls, window, rate, self._watch)

    def close(self) -> None:
        self._calls = []
        self._stack.close()

    def closing(self) -> dict[str, Any]:
        """Told at the end: the largest memory that the process had, MB."""
        return {"peak_mb": memory_mb()["peak"]}


def _call(session: Session, feeds: dict[str, Any]) -> Callable[[], object]:
    return lambda: session.infer(feeds)


@contextmanager
def opened(setup: Setup, watched: bool = True, pin: bool = False) -> Iterator[LoadedEngine]:
    """An engine in this process, open in no shape yet.

    Args:
        pin: keep the process on ``setup.cpus``, from after the import of the runtime on.
    """
    import cv2

    cv2.setNumThreads(1)
    images = [read_image(Path(path)) for path in setup.images]
    backend = backends.get(setup.engine.backend)
    if not isinstance(backend, Streaming):
        raise StageError(f"backend {setup.engine.backend} runs one inference at a time: report this")
    backend.prepare()
    if pin and setup.cpus:
        os.sched_setaffinity(0, setup.cpus)  # as in stages/latency/timed_engine.py
    made = LoadedEngine(setup, backend, images, watched)
    try:
        yield made
    finally:
        made.close()
