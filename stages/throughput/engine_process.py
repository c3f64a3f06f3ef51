"""A process per engine that is loaded, driven over its pipes: ``python -m stages.throughput.engine_process SETUP``.

A request is ``{"do": "open" | "look" | "warm" | "take" | "close", ...}``; the engines of a backend are there at the
same time and have turns, as in ``stages/latency/engine_process.py``.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from stages.codec import to_json
from stages.errors import StageCrashed
from stages.latency.engine_process import finite, infinite, setup_from_json, usage_from_json
from stages.latency.timed_engine import Setup
from stages.latency.timing import ProgressCallback, Warmup
from stages.processes.dialogue import Dialogue, Requests, answering
from stages.processes.pipes import exit_at_once, send
from stages.throughput.grid import Point, Shape
from stages.throughput.loaded_engine import LoadedEngine, LoadRound, opened


class EngineProcess(Dialogue):
    """The near end: a `LoadedEngine` elsewhere."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        path = folder / f"{setup.engine.precision}.json"
        path.write_text(json.dumps(to_json(setup)))
        self._name = f"{setup.engine.backend} {setup.engine.precision}"
        super().__init__("stages.throughput.engine_process", str(path), threads=setup.threads)

    def open(self, shape: Shape) -> None:
        self.ask({"do": "open", **dataclasses.asdict(shape)})

    def look(self, shape: Shape, seconds: float) -> Point:
        answer = self.ask({"do": "look", **dataclasses.asdict(shape), "seconds": seconds})
        return Point(shape, answer["rate"], answer["latencies"])

    def task(self, window: int, rate: float | None = None) -> RemoteLoad:
        return RemoteLoad(self, window, rate)

    def closing(self) -> dict[str, Any]:
        return self.farewell()

    def lost(self, code: int) -> StageCrashed:
        return StageCrashed(
            f"the process that loaded the {self._name} engine ended with exit code {code}; its last lines are in the "
            "stage's log"
        )


class RemoteLoad:
    """A `LoadTask` in an engine's process."""

    def __init__(self, process: EngineProcess, window: int, rate: float | None) -> None:
        self.name, self._process = "load", process
        self._what = {"window": window, "rate": rate}

    def warm(self, runs: int, seconds: float, limit: float) -> Warmup:
        request = {"do": "warm", **self._what, "runs": runs, "seconds": seconds, "limit": finite(limit)}
        return Warmup(**self._process.ask(request))

    def take(self, runs: int, least: int, budget: float, first: int, tell: ProgressCallback) -> LoadRound:
        request = {
            "do": "take", **self._what, "runs": runs, "least": least, "budget": finite(budget), "first": first,
        }  # fmt: skip
        answer = self._process.ask(request, tell)
        return LoadRound(answer["samples"], usage_from_json(answer["usage"]), answer["latencies"])


@contextmanager
def started(setups: list[Setup], folder: Path) -> Iterator[list[EngineProcess]]:
    """A process per engine, ended again when the ``with`` ends."""
    running: list[EngineProcess] = []
    try:
        for setup in setups:
            running.append(EngineProcess(setup, folder))
            running[-1].answer()
        yield running
    finally:
        for process in running:
            process.leave()


# --- the far end -----------------------------------------------------------------------------------------------


def main() -> int:
    """Answer requests until there are no more."""
    return answering(_serve)


def _serve(requests: Requests, answers: IO[str]) -> None:
    setup = setup_from_json(json.loads(Path(sys.argv[1]).read_text()))
    with opened(setup, pin=True) as engine:
        send(answers, {"ready": True})
        for request in requests:
            kind = request.pop("do")
            if kind == "close":
                send(answers, engine.closing())
                return
            send(answers, _answer(engine, kind, request, answers))


def _answer(engine: LoadedEngine, kind: str, request: dict[str, Any], answers: IO[str]) -> dict[str, Any]:
    if kind == "open":
        engine.open(Shape(**request))
        return {"open": True}
    if kind == "look":
        seconds = request.pop("seconds")
        return dataclasses.asdict(engine.look(Shape(**request), seconds))
    task = engine.task(request["window"], request["rate"])
    if kind == "warm":
        return dataclasses.asdict(task.warm(request["runs"], request["seconds"], infinite(request["limit"])))
    taken = task.take(
        request["runs"],
        request["least"],
        infinite(request["budget"]),
        request["first"],
        lambda done: send(answers, {"done": done}),
    )
    return dataclasses.asdict(taken)


if __name__ == "__main__":
    exit_at_once(main)
