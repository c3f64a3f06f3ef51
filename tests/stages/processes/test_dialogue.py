"""A process that is asked: answers, progress, errors of their own class, and its end."""

from __future__ import annotations

import pytest

from stages.errors import DataError, StageCrashed
from stages.processes import python
from stages.processes.dialogue import Dialogue
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


class Asked(Dialogue):
    """The program above in the place of a module."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            start = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
            patch.setattr(python, "command", lambda module: [*python.alone("-c")[:1], "-c", start + PROGRAM])
            super().__init__("none", threads=3)
        self.pid = self.answer()["pid"]


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
