"""What the terminal shows of a training, with and without one."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from pipelines.execution.events import StageInfo
from pipelines.runs import console as module
from pipelines.runs.console import ConsoleObserver

STAGE = StageInfo(id="distill", stage="distill", key="k")


def shown(events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, terminal: bool = False) -> list[str]:
    """The lines of a stage that sends one event every three seconds."""
    clock = iter(range(0, 10_000, 3))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    observer = ConsoleObserver(Console(file=stream, force_terminal=terminal, width=200, highlight=False))
    observer.stage_started(STAGE)
    for event in events:
        observer.stage_event(STAGE, {"event": "progress", **event})
    observer._stop()
    return stream.getvalue().splitlines()


def test_a_training_gets_a_line_for_each_point_with_loss_rate_speed_and_what_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = [{"done": d, "total": 40, "loss": 1.5, "lr": 3e-5, "images_per_s": 4.0} for d in (10, 20, 30, 40)]
    lines = shown(points, monkeypatch)
    assert len(lines) == 4
    assert all("loss 1.5  lr 3e-05  images_per_s 4" in line for line in lines)
    assert [bool(re.search(r"0:\d\d:\d\d left$", line)) for line in lines] == [False, True, True, False]
    assert "distill 20/40" in lines[1]


def test_other_stages_get_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown([{"done": d, "total": 100, "images_per_s": 4.0} for d in range(100)], monkeypatch)
    assert 5 < len(lines) < 60


def test_a_terminal_gets_one_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Progress", bars := _Bars())
    points = [{"done": d, "total": 40, "loss": 1.5} for d in (10, 20, 30, 40)]
    assert shown(points, monkeypatch, terminal=True) == []
    assert bars.made == 1 and bars.done == [10, 20, 30, 40]


class _Bars:
    """Stands for rich's ``Progress``, which draws in a thread of its own."""

    def __init__(self) -> None:
        self.made = 0
        self.done: list[int] = []

    def __call__(self, *_: object, **__: object) -> _Bars:
        self.made += 1
        return self

    def add_task(self, *_: object, **__: object) -> int:
        return 0

    def update(self, _: int, *, completed: int, **__: object) -> None:
        self.done.append(completed)

    def start(self) -> None: ...

    def stop(self) -> None: ...
