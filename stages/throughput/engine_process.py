"""A process per engine that is loaded, driven over its pipes: ``python -m stages.throughput.engine_process SETUP``.

A request is ``{"do": "open" | "look" | "warm" | "take" | "close", ...}``; the engines of a backend are there at the
same time and have turns, as in ``stages/latency/engine_process.py``.
"""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO, Any

from stages.latency.engine_process import SetupProcess, setup_of_process, usage_from_json
from stages.latency.timed_engine import Setup
from stages.latency.timing import ProgressCallback, Warmup
from stages.processes import dialogue
from stages.processes.dialogue import Requests, answered, answering, together, until_farewell
from stages.processes.pipes import exit_at_once, send
from stages.throughput.grid import Point, Shape
from stages.throughput.loaded_engine import LoadedEngine, LoadRound, opened


class EngineProcess(SetupProcess):
    """The near end: a `LoadedEngine` elsewhere."""

    PROGRAM, WORK = "stages.throughput.engine_process", "loaded"

    def open(self, shape: Shape) -> None:
        self.ask({"do": "open", **dataclasses.asdict(shape)})

    def look(self, shape: Shape, seconds: float) -> Point:
        answer = self.ask({"do": "look", **dataclasses.asdict(shape), "seconds": seconds})
        return Point(shape, answer["rate"], answer["latencies"])

    def task(self, window: int, rate: float | None = None) -> RemoteLoad:
        return RemoteLoad("load", self, window=window, rate=rate)


class RemoteLoad(dialogue.RemoteTask):
    """A `LoadTask` in an engine's process."""

    def warm(self, runs: int, seconds: float, limit: float) -> Warmup:
        return Warmup(**self.ask_to_warm(runs, seconds, limit))

    def take(self, runs: int, least: int, budget: float, first: int, tell: ProgressCallback) -> LoadRound:
        answer = self.ask_to_take(runs, least, budget, first, tell)
        return LoadRound(answer["samples"], usage_from_json(answer["usage"]), answer["latencies"])


def started(setups: list[Setup], folder: Path) -> AbstractContextManager[list[EngineProcess]]:
    """A process per engine, ended again when the ``with`` ends."""
    return together([partial(EngineProcess, setup, folder) for setup in setups])


# --- the far end -----------------------------------------------------------------------------------------------


def main() -> int:
    """Answer requests until there are no more."""
    return answering(_serve)


def _serve(requests: Requests, answers: IO[str]) -> None:
    with opened(setup_of_process(), pin=True) as engine:
        send(answers, {"ready": True})

        def answer(kind: str, request: dict[str, Any]) -> dict[str, Any]:
            return _answer(engine, kind, request, answers)

        until_farewell(requests, answers, answer, engine.closing)


def _answer(engine: LoadedEngine, kind: str, request: dict[str, Any], answers: IO[str]) -> dict[str, Any]:
    if kind == "open":
        engine.open(Shape(**request))
        return {"open": True}
    if kind == "look":
        seconds = request.pop("seconds")
        return dataclasses.asdict(engine.look(Shape(**request), seconds))
    return answered(engine.task(request["window"], request["rate"]), kind, request, answers)


if __name__ == "__main__":
    exit_at_once(main)
