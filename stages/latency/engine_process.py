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
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stages.artifacts import Engine
from stages.codec import artifact_from_json, to_json
from stages.errors import ExitCode, StageCrashed
from stages.latency.gpu import GpuUsage
from stages.latency.machine import Usage
from stages.latency.timed_engine import Setup, open_timed_engine
from stages.latency.timing import ProgressCallback, Round, Warmup
from stages.options.accuracy import NmsOptions
from stages.processes import python
from stages.processes.children import Child
from stages.processes.pipes import (
    claim_stdout,
    die_with_parent,
    error_from_json,
    error_to_json,
    exit_at_once,
    receive,
    send,
)

_CLOSE_SECONDS = 30.0


class EngineProcess:
    """The near end: starts the process, and speaks with it."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        path = folder / f"{setup.engine.precision}.json"
        path.write_text(json.dumps(to_json(setup)))
        self._name = f"{setup.engine.backend} {setup.engine.precision}"
        self._process = Child(
            python.command("stages.latency.engine_process", str(path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=python.environment(OMP_NUM_THREADS=str(setup.threads)),
            knows=True,
        )
        self.cold_start: dict[str, float] = {}
        self._closed = False

    def await_ready(self) -> None:
        """Return when the engine has run once. Raises what opening it raised there."""
        self.cold_start = self._answer()["cold_start"]

    def task(self, mode: str) -> RemoteTask:
        return RemoteTask(self, mode)

    def ask(self, request: Mapping[str, Any], tell: ProgressCallback = lambda n: None) -> dict[str, Any]:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has died; its last words, or its exit code, are read below
            send(self._process.stdin, request)
        return self._answer(tell)

    def closing(self) -> dict[str, Any]:
        """What the engine has to tell at its end; the process ends with it."""
        answer = self.ask({"do": "close"})
        self._closed = True
        return answer

    def end(self) -> None:
        """End the process, whatever it is doing: one that has not been closed is in the middle of something."""
        if not self._closed:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        if self._process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_CLOSE_SECONDS)
        self._process.end()

    def _answer(self, tell: ProgressCallback = lambda n: None) -> dict[str, Any]:
        assert self._process.stdout is not None
        for answer in receive(self._process.stdout):
            if "done" in answer:
                tell(answer["done"])
            elif "error" in answer:
                raise error_from_json(answer["error"])
            else:
                return answer
        code = self._process.wait()
        raise StageCrashed(
            f"the process that timed the {self._name} engine ended with exit code {code}; its last lines are in the "
            "stage's log"
        )


class RemoteTask:
    """A ``stages.latency.timing.Timed`` in an engine's process."""

    def __init__(self, process: EngineProcess, mode: str) -> None:
        self.name, self._process = mode, process

    def warm(self, runs: int, seconds: float, limit: float) -> Warmup:
        request = {"do": "warm", "mode": self.name, "runs": runs, "seconds": seconds, "limit": _finite(limit)}
        return Warmup(**self._process.ask(request))

    def take(self, runs: int, least: int, budget: float, first: int, tell: ProgressCallback) -> Round:
        request = {
            "do": "take", "mode": self.name, "runs": runs, "least": least, "budget": _finite(budget), "first": first,
        }  # fmt: skip
        answer = self._process.ask(request, tell)
        return Round(answer["samples"], _usage(answer["usage"]))


def _usage(given: Mapping[str, Any]) -> Usage:
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
            process.end()


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value


# --- the far end -----------------------------------------------------------------------------------------------


def main() -> int:
    """Open the engine, then answer requests until there are no more."""
    setup_file = Path(sys.argv[1])
    answers = claim_stdout()
    die_with_parent()
    try:
        setup = _setup(json.loads(setup_file.read_text()))
        with open_timed_engine(setup, pin=True) as engine:
            send(answers, {"cold_start": engine.cold_start})
            for request in receive(sys.stdin):
                kind = request.pop("do")
                if kind == "close":
                    send(answers, engine.closing())
                    return ExitCode.DONE
                task = engine.tasks[request.pop("mode")]
                if kind == "warm":
                    warmup = task.warm(request["runs"], request["seconds"], _infinite(request["limit"]))
                    send(answers, dataclasses.asdict(warmup))
                else:
                    timed = task.take(
                        request["runs"],
                        request["least"],
                        _infinite(request["budget"]),
                        request["first"],
                        lambda done: send(answers, {"done": done}),
                    )
                    send(answers, dataclasses.asdict(timed))
    except Exception as error:  # whatever a runtime raises goes to the stage, which tells the user
        send(answers, {"error": error_to_json(error)})
        return ExitCode.STAGE_FAILED
    return ExitCode.DONE


def _setup(data: Mapping[str, Any]) -> Setup:
    engine = artifact_from_json(data["engine"])
    assert isinstance(engine, Engine)
    return Setup(engine, data["images"], NmsOptions(**data["nms"]), data["threads"], data["cpus"])


def _infinite(value: float | None) -> float:
    return math.inf if value is None else value


if __name__ == "__main__":
    exit_at_once(main)
