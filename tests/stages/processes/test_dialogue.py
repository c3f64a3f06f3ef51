"""A process that is asked: answers, progress, errors of their own class, and its end."""

from __future__ import annotations

import math
from functools import partial

import pytest

from stages.errors import DataError, StageCrashed
from stages.processes import python
from stages.processes.dialogue import Dialogue, RemoteTask, together
from tests.conftest import ROOT

PROGRAM = """
import os, sys
from stages.errors import DataError
from stages.processes.dialogue import answering
from stages.processes.pipes import exit_at_once, send

def serve(requests, answers):
    print("what libraries print is no answer")
    send(answers, {"pid": os.getpid()})
    for request in requests:
        if request["do"] == "close":
            send(answers, {"bye": True})
            return
        if request["do"] == "fail":
            raise DataError("no such image")
        if request["do"] == "die":
            os._exit(7)
        for n in range(3):
            send(answers, {"done": n})
        send(answers, {"threads": os.environ["OMP_NUM_THREADS"]})

exit_at_once(lambda: answering(serve))
"""

IN_TURNS = """
import os
from dataclasses import dataclass
from stages.processes.dialogue import answered, answering, until_farewell
from stages.processes.pipes import exit_at_once, send

@dataclass
class Warm:
    seconds: float
    forever: bool

@dataclass
class Taken:
    samples: list
    budget: float
    of: str

class Task:
    def __init__(self, name):
        self.name = name
    def warm(self, runs, seconds, limit):
        return Warm(runs * seconds, limit == float("inf"))
    def take(self, runs, least, budget, first, tell):
        for n in range(runs):
            tell(n + 1)
        return Taken([first + n for n in range(runs)], budget, self.name)

def serve(requests, answers):
    send(answers, {"pid": os.getpid()})
    answer = lambda kind, request: answered(Task(request["of"]), kind, request, answers)
    until_farewell(requests, answers, answer, lambda: {"told": "all"})

exit_at_once(lambda: answering(serve))
"""
"""A program whose task says what it was asked for."""


class Asked(Dialogue):
    """A program above in the place of a module."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, program: str = PROGRAM) -> None:
        with monkeypatch.context() as patch:
            start = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
            patch.setattr(python, "command", lambda module: [*python.alone("-c")[:1], "-c", start + program])
            super().__init__("none", threads=3)
        self.pid = 0
        if program == PROGRAM:
            self.await_ready()

    def await_ready(self) -> None:
        self.pid = self.pid or self.answer()["pid"]


def test_an_answer_comes_after_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, told = Asked(monkeypatch), list[int]()
    try:
        assert asked.ask({"do": "count"}, told.append) == {"threads": "3"}
        assert told == [0, 1, 2]
        assert asked.farewell() == {"bye": True}
    finally:
        asked.leave()
    assert asked._process.returncode == 0  # it ended by itself


def test_one_that_was_not_bidden_farewell_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    asked.leave()
    assert asked._process.returncode == -9


def test_an_error_keeps_its_class_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    try:
        with pytest.raises(DataError, match="no such image"):
            asked.ask({"do": "fail"})
    finally:
        asked.leave()


def test_one_that_dies_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    try:
        with pytest.raises(StageCrashed, match="ended with exit code 7"):
            asked.ask({"do": "die"})
        with pytest.raises(StageCrashed, match="ended with exit code 7"):
            asked.ask({"do": "count"})
    finally:
        asked.leave()
    killed = Asked(monkeypatch)
    killed._process.kill()
    killed._process.wait()
    with pytest.raises(StageCrashed, match="killed by signal 9"):
        killed.ask({"do": "count"})
    killed.leave()


def test_a_task_elsewhere_is_asked_as_one_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    with together([partial(Asked, monkeypatch, IN_TURNS)]) as (asked,):
        task, told = RemoteTask("runtime", asked, of="mine"), list[int]()
        assert task.name == "runtime"
        assert task.ask_to_warm(3, 0.5, math.inf) == {"seconds": 1.5, "forever": True}  # JSON has no infinity
        assert task.ask_to_warm(3, 0.5, 9.0) == {"seconds": 1.5, "forever": False}
        taken = task.ask_to_take(2, 1, 1.5, 40, told.append)
        assert taken == {"samples": [40, 41], "budget": 1.5, "of": "mine"} and told == [1, 2]
        assert asked.farewell() == {"told": "all"}
    assert asked._process.returncode == 0


def test_processes_that_are_there_together_are_ended_when_one_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[Asked] = []

    def start(program: str) -> Asked:
        there.append(Asked(monkeypatch, program))
        return there[-1]

    starts = [partial(start, IN_TURNS), partial(start, "raise SystemExit(5)"), partial(start, IN_TURNS)]
    with pytest.raises(StageCrashed, match="ended with exit code 5"), together(starts):
        raise AssertionError("one of them is not there")
    assert len(there) == 2 and there[0].pid  # each is ready before the next is started
    assert [process._process.returncode for process in there] == [-9, 5]
