"""A process per engine that is timed, driven over its pipes in turns:
``python -m stages.latency.engine_process SETUP``.

The engines of a backend are open at the same time and run one after another. Whoever has no turn sleeps on its pipe,
and so does the stage that leads them; an engine's threads, memory and imports are its own. A request is a line of JSON,
``{"do": "warm" | "take" | "close", ...}``; the answer is a line too, after any number of ``{"done": n}`` lines.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar

from stages.artifacts import Engine
from stages.codec import artifact_from_json, to_json
from stages.errors import StageCrashed
from stages.latency.gpu import GpuUsage
from stages.latency.machine import Usage
from stages.latency.timed_engine import Setup, open_timed_engine
from stages.latency.timing import ProgressCallback, Round, Warmup
from stages.options.accuracy import NmsOptions
from stages.processes import dialogue
from stages.processes.dialogue import Dialogue, Requests, answered, answering, together, until_farewell
from stages.processes.pipes import exit_at_once, send


class SetupProcess(Dialogue):
    """The near end of a process that has one engine: starts it with a `Setup`, and speaks with it."""

    PROGRAM: ClassVar[str]
    """The module; its argument is the file of the setup."""
    WORK: ClassVar[str]
    """What it did with the engine, in the past."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        path = folder / f"{setup.engine.precision}.json"
        path.write_text(json.dumps(to_json(setup)))
        self._name = f"{setup.engine.backend} {setup.engine.precision}"
        super().__init__(self.PROGRAM, str(path), threads=setup.threads)

    def closing(self) -> dict[str, Any]:
        """What the engine has to tell at its end; the process ends with it."""
        return self.farewell()

    def lost(self, code: int) -> StageCrashed:
        return StageCrashed(
            f"the process that {self.WORK} the {self._name} engine ended with exit code {code}; its last lines are in "
            "the stage's log"
        )


class EngineProcess(SetupProcess):
    """The near end of a process that times an engine."""

    PROGRAM, WORK = "stages.latency.engine_process", "timed"

    def __init__(self, setup: Setup, folder: Path) -> None:
        super().__init__(setup, folder)
        self.cold_start: dict[str, float] = {}

    def await_ready(self) -> None:
        """Return when the engine has run once. Raises what opening it raised there."""
        self.cold_start = self.answer()["cold_start"]

    def task(self, mode: str) -> RemoteTask:
        return RemoteTask(mode, self, mode=mode)


class RemoteTask(dialogue.RemoteTask):
    """A ``stages.latency.timing.Timed`` in an engine's process."""

    def warm(self, runs: int, seconds: float, limit: float) -> Warmup:
        return Warmup(**self.ask_to_warm(runs, seconds, limit))

    def take(self, runs: int, least: int, budget: float, first: int, tell: ProgressCallback) -> Round:
        answer = self.ask_to_take(runs, least, budget, first, tell)
        return Round(answer["samples"], usage_from_json(answer["usage"]))


def usage_from_json(given: Mapping[str, Any]) -> Usage:
    """A `Usage` that crossed over."""
    gpu = given.get("gpu")
    return Usage(**{**given, "gpu": None if gpu is None else GpuUsage(**gpu)})


def started(setups: list[Setup], folder: Path) -> AbstractContextManager[list[EngineProcess]]:
    """A process per engine, ended again when the ``with`` ends. One after another: cold starts are timed too."""
    return together([partial(EngineProcess, setup, folder) for setup in setups])


# --- the far end -----------------------------------------------------------------------------------------------


def main() -> int:
    """Open the engine, then answer requests until there are no more."""
    return answering(_serve)


def _serve(requests: Requests, answers: IO[str]) -> None:
    with open_timed_engine(setup_of_process(), pin=True) as engine:
        send(answers, {"cold_start": engine.cold_start})

        def answer(kind: str, request: dict[str, Any]) -> dict[str, Any]:
            return answered(engine.tasks[request["mode"]], kind, request, answers)

        until_farewell(requests, answers, answer, engine.closing)


def setup_of_process() -> Setup:
    """The `Setup` that a `SetupProcess` started this process with."""
    data = json.loads(Path(sys.argv[1]).read_text())
    engine = artifact_from_json(data["engine"])
    assert isinstance(engine, Engine)
    return Setup(engine, data["images"], NmsOptions(**data["nms"]), data["threads"], data["cpus"])


if __name__ == "__main__":
    exit_at_once(main)
