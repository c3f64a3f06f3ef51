"""A process that is started to be asked: requests go out and answers come back, a line of JSON each.

The near end is a `Dialogue`, of which each user makes a class of its own; the far end's program runs `answering`. An
answer with ``done`` is progress, one with ``error`` is the last one, any other ends a request.

Where processes measure in turns, a `RemoteTask` asks one to ``warm`` up and to ``take`` a turn, and `answered` does it.
"""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any, Protocol, TypeVar

from stages.errors import ExitCode, StageCrashed
from stages.processes import python
from stages.processes.children import Child
from stages.processes.pipes import (
    claim_stdout,
    die_with_parent,
    error_from_json,
    error_to_json,
    receive,
    send,
)

CLOSE_SECONDS = 30.0
"""What a process has to end in that was told to."""

Tell = Callable[[int], None]
Requests = Iterator[dict[str, Any]]


class Dialogue:
    """The near end: starts the process, and speaks with it. To be made in the main thread, to be used in one thread."""

    def __init__(self, module: str, *arguments: str, threads: int) -> None:
        """
        Args:
            module: the program, which runs `answering`.
            threads: CPU threads of what computes there.
        """
        self._process = Child(
            python.command(module, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=python.environment(OMP_NUM_THREADS=str(threads)),
            knows=True,
        )
        self._closed = False

    def ask(self, request: Mapping[str, Any], tell: Tell = lambda n: None) -> dict[str, Any]:
        """The answer to a request; ``tell`` hears of progress. Raises what was raised there, or `lost`."""
        assert self._process.stdin is not None
        with suppress(OSError):  # it has died; its last words, or how it ended, are read below
            send(self._process.stdin, request)
        return self.answer(tell)

    def answer(self, tell: Tell = lambda n: None) -> dict[str, Any]:
        """The next answer, as of `ask`."""
        assert self._process.stdout is not None
        for answer in receive(self._process.stdout):
            if "done" in answer:
                tell(answer["done"])
            elif "error" in answer:
                raise error_from_json(answer["error"])
            else:
                return answer
        raise self.lost(self._process.wait())

    def lost(self, code: int) -> StageCrashed:
        """What is raised of a process that ended with exit code ``code`` and owed an answer."""
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return StageCrashed(how)

    def await_ready(self) -> None:
        """Return when it can be asked, which it says by itself. Raises what went wrong there before."""
        self.answer()

    def farewell(self) -> dict[str, Any]:
        """The answer to the last request, after which the process ends by itself."""
        answer = self.ask({"do": "close"})
        self._closed = True
        return answer

    def end(self) -> None:
        """End it, whatever it is doing; a thread that waits for its answer gets `lost`."""
        self._process.end()

    def close(self) -> None:
        """Close its pipes, which nobody uses any more."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):  # what it no longer read
                pipe.close()

    def leave(self) -> None:
        """Wait for the end of one that was bidden farewell; any other is in the middle of something, and is ended."""
        if not self._closed:
            self._process.kill()
        self.close()
        if self._process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(CLOSE_SECONDS)
        self._process.end()


D = TypeVar("D", bound=Dialogue)


@contextmanager
def together(starts: Iterable[Callable[[], D]]) -> Iterator[list[D]]:
    """Processes that are there at the same time, each started when the one before is ready; left with the ``with``."""
    running: list[D] = []
    try:
        for start in starts:
            running.append(start())
            running[-1].await_ready()
        yield running
    finally:
        for process in running:
            process.leave()


class RemoteTask:
    """Something in another process that runs in turns: the requests, whose answers are JSON as `answered` makes it."""

    def __init__(self, name: str, process: Dialogue, **which: Any) -> None:
        """
        Args:
            which: what the far end finds the task by, in each request.
        """
        self.name, self._process, self._which = name, process, which

    def ask_to_warm(self, runs: int, seconds: float, limit: float) -> dict[str, Any]:
        return self._process.ask(
            {"do": "warm", **self._which, "runs": runs, "seconds": seconds, "limit": _finite(limit)}
        )

    def ask_to_take(self, runs: int, least: int, budget: float, first: int, tell: Tell) -> dict[str, Any]:
        how = {"runs": runs, "least": least, "budget": _finite(budget), "first": first}
        return self._process.ask({"do": "take", **self._which, **how}, tell)


# --- the far end -----------------------------------------------------------------------------------------------


class LocalTask(Protocol):
    """What a `RemoteTask` stands for; both answers are dataclasses."""

    def warm(self, runs: int, seconds: float, limit: float) -> Any: ...

    def take(self, runs: int, least: int, budget: float, first: int, tell: Tell) -> Any: ...


def answered(task: LocalTask, kind: str, request: Mapping[str, Any], answers: IO[str]) -> dict[str, Any]:
    """The answer to a request of a `RemoteTask` (``kind`` is ``warm`` or ``take``), after its progress."""
    if kind == "warm":
        return dataclasses.asdict(task.warm(request["runs"], request["seconds"], _infinite(request["limit"])))
    taken = task.take(
        request["runs"],
        request["least"],
        _infinite(request["budget"]),
        request["first"],
        lambda done: send(answers, {"done": done}),
    )
    return dataclasses.asdict(taken)


def until_farewell(
    requests: Requests,
    answers: IO[str],
    answer: Callable[[str, dict[str, Any]], Mapping[str, Any]],
    closing: Callable[[], Mapping[str, Any]],
) -> None:
    """Answer requests, ``answer(kind, the rest of it)``, up to a `Dialogue.farewell`, to which ``closing`` has the
    answer, or until nobody asks any more."""
    for request in requests:
        kind = request.pop("do")
        if kind == "close":
            send(answers, closing())
            return
        send(answers, answer(kind, request))


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return None if math.isinf(value) else value


def _infinite(value: float | None) -> float:
    """What `_finite` made of it, back."""
    return math.inf if value is None else value


def answering(serve: Callable[[Requests, IO[str]], None], *, logged: bool = False) -> int:
    """The far end, as the ``main`` of a program: ``serve`` reads requests and sends answers until there are no more.

    What it raises, whatever a runtime may raise, goes to the near end, which tells the user.

    Args:
        logged: print the traceback too.
    """
    answers = claim_stdout()
    die_with_parent()
    try:
        serve(receive(sys.stdin), answers)
    except Exception as error:
        if logged:
            traceback.print_exc()
        with suppress(OSError):  # nobody is left who hears it
            send(answers, {"error": error_to_json(error)})
        return ExitCode.STAGE_FAILED
    return ExitCode.DONE
