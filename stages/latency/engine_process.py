"""A process per engine that is timed, driven over its pipes in turns:
``python -m stages.latency.engine_process SETUP``.

The engines of a backend are open at the same time and run one after another. Whoever has no turn sleeps on its pipe,
and so does the stage that leads them; an engine's threads, memory and imports are its own. A request is a line of JSON,
``{"do": "warm" | "take" | "close", ...}``; the answer is a line too, after any number of ``{"done": n}`` lines.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from stages.artifacts import Engine
from stages.codec import artifact_from_json, to_json
from stages.errors import StageCrashed
from stages.latency.gpu import GpuUsage
from stages.latency.machine import Usage
from stages.latency.timed_engine import Setup, open_timed_engine
from stages.latency.timing import ProgressCallback, Round, Warmup
from stages.options.accuracy import NmsOptions
from stages.processes.dialogue import Dialogue, Requests, answering
from stages.processes.pipes import exit_at_once, send


class EngineProcess(Dialogue):
    """The near end: starts the process, and speaks with it."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        path = folder / f"{setup.engine.precision}.json"
        path.write_text(json.dumps(to_json(setup)))
        self._name = f"{setup.engine.backend} {setup.engine.precision}"
        super().__init__("stages.latency.engine_process", str(path), threads=setup.threads)
        self.cold_start: dict[str, float] = {}

    def await_ready(self) -> None:
        """Return when the engine has run once. Raises what opening it raised there."""
        self.cold_start = self.answer()["cold_start"]

    def task(self, mode: str) -> RemoteTask:
        return RemoteTask(self, mode)

    def closing(self) -> dict[str, Any]:
        """What the engine has to tell at its end; the process ends with it."""
        return self.farewell()

    def lost(self, code: int) -> StageCrashed:
        return StageCrashed(
            f"the process that timed the {self._name} engine ended with exit code {code}; its last lines are in the "
            "stage's log"
        )


class RemoteTask:
    """A ``stages.latency.timing.Timed`` in an engine's process."""

    def __init__(self, process: EngineProcess, mode: str) -> None:
        self.name, self._process = mode, process

    def warm(self, runs: int, seconds: float, limit: float) -> Warmup:
        request = {"do": "warm", "mode": self.name, "runs": runs, "seconds": seconds, "limit": finite(limit)}
        return Warmup(**self._process.ask(request))

    def take(self, runs: int, least: int, budget: float, first: int, tell: ProgressCallback) -> Round:
        request = {
            "do": "take", "mode": self.name, "runs": runs, "least": least, "budget": finite(budget), "first": first,
        }  # fmt: skip
        answer = self._process.ask(request, tell)
        return Round(answer["samples"], usage_from_json(answer["usage"]))


def usage_from_json(given: Mapping[str, Any]) -> Usage:
    """A `Usage` that crossed over."""
    gpu = given.get("gpu")
    return Usage(**{**given, "gpu": None if gpu is None else GpuUsage(**gpu)})


@contextmanager
def started(setups: list[Setup], folder: Path) -> Iterator[list[EngineProcess]]:
    """A process per engine, ended again when the ``with`` ends. One after another: cold starts are timed too."""
    running: list[EngineProcess] = []
    try:
        for setup in setups:
            running.append(EngineProcess(setup, folder))
            running[-1].await_ready()
        yield running
    finally:
        for process in running:
            process.leave()


def finite(value: float) -> float | None:
    """JSON has no infinity."""
    return None if math.isinf(value) else value


# --- the far end -----------------------------------------------------------------------------------------------


def main() -> int:
    """Open the engine, then answer requests until there are no more."""
    return answering(_serve)


def _serve(requests: Requests, answers: IO[str]) -> None:
    setup = setup_from_json(json.loads(Path(sys.argv[1]).read_text()))
    with open_timed_engine(setup, pin=True) as engine:
        send(answers, {"cold_start": engine.cold_start})
        for request in requests:
            kind = request.pop("do")
            if kind == "close":
                send(answers, engine.closing())
                return
            task = engine.tasks[request.pop("mode")]
            if kind == "warm":
                warmup = task.warm(request["runs"], request["seconds"], infinite(request["limit"]))
                send(answers, dataclasses.asdict(warmup))
            else:
                timed = task.take(
                    request["runs"],
                    request["least"],
                    infinite(request["budget"]),
                    request["first"],
                    lambda done: send(answers, {"done": done}),
                )
                send(answers, dataclasses.asdict(timed))


def setup_from_json(data: Mapping[str, Any]) -> Setup:
    """A `Setup` that crossed over."""
    engine = artifact_from_json(data["engine"])
    assert isinstance(engine, Engine)
    return Setup(engine, data["images"], NmsOptions(**data["nms"]), data["threads"], data["cpus"])


def infinite(value: float | None) -> float:
    """What `finite` made of it, back."""
    return math.inf if value is None else value


if __name__ == "__main__":
    exit_at_once(main)
