"""The latency stage on a machine whose load a test plants: other processes that hold up the last engine's turns.

Engines, processes and pipes are the real ones. What a turn took and what the machine did meanwhile is told by a
stand-in, since no load can be planted on shared cores that hits one engine alone and leaves the other undisturbed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.latency.engine_process import EngineProcess, started
from stages.latency.latency import Latency
from stages.latency.machine import Usage
from stages.latency.timed_engine import Setup
from stages.latency.timing import ProgressCallback, Round, Timed, Warmup
from stages.options.latency import LatencyOptions

LOUD = "DETPRESS_TEST_LOUD"
"""The environment variable with the path of a file: while it is there, the load is."""
RUN_SECONDS, STRETCH = 0.01, 1.5


class PlantedLatency(Latency):
    """`Latency` under the planted load."""

    def __init__(self, options: LatencyOptions) -> None:
        super().__init__(options, launch=_planted)


@contextmanager
def _planted(setups: list[Setup], folder: Path) -> Iterator[Sequence[Any]]:
    with started(setups, folder) as engines:
        yield [_Engine(engine, last=engine is engines[-1]) for engine in engines]


class _Engine:
    def __init__(self, engine: EngineProcess, *, last: bool) -> None:
        self.engine, self.last = engine, last
        self.cold_start = engine.cold_start

    def task(self, mode: str) -> Timed:
        return _Task(self.engine.task(mode), last=self.last)

    def closing(self) -> dict[str, Any]:
        return self.engine.closing()


class _Task:
    def __init__(self, task: Timed, *, last: bool) -> None:
        self.name, self.task, self.last = task.name, task, last

    def warm(self, runs: int, seconds: float, limit: float) -> Warmup:
        return self.task.warm(runs, seconds, limit)

    def take(self, runs: int, least: int, budget: float, first: int, tell: ProgressCallback) -> Round:
        count = len(self.task.take(runs, least, budget, first, tell).samples)
        took = RUN_SECONDS * (STRETCH if self.last and Path(os.environ[LOUD]).is_file() else 1.0)
        lost = (took - RUN_SECONDS) * count
        return Round([took] * count, Usage(took * count, RUN_SECONDS * count, lost, lost, probe_s=0.001))
