"""What a stage is likely to take, from the record of another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from pipelines.execution import work
from pipelines.execution.node import Node, Work
from pipelines.system import provenance

HERE = "Some CPU (2 cores)"


@dataclass
class Options:
    steps: int | None = None
    batch: int = 4
    method: str = "qat_distill"


def node(amount: float | None = 2.0, *, model: str = "small", stage: str = "distill", threads: int = 2) -> Node:
    return Node(id=stage, stage=stage, options=Options(), work=Work(model, amount, 10.0), threads=threads)


def record(seconds: float, amount: float | None = 1.0, *, model: str = "small", **options: Any) -> Any:
    kept = {"model": model, "amount": amount, "parameters": 5.0}
    return {"seconds": seconds, "parts": {"options": options}, "work": kept, "provenance": {"hardware": HERE}}


def test_another_model_is_scaled_by_its_work_and_its_result_by_its_parameters() -> None:
    old = record(30.0, 1.0, model="other")
    assert work.comparable(node(4.0), old, HERE) and not work.same_model(node(4.0), old)
    assert work.seconds(node(4.0), {}, old) == 120.0
    assert work.growth(node(4.0), old) == 2.0


@pytest.mark.parametrize("old", [record(30.0, None, model="other"), {**record(30.0), "work": None}])
def test_a_record_that_does_not_say_of_which_model_it_is_says_nothing(old: Any) -> None:
    assert not work.comparable(node(), old, HERE)
    assert not work.comparable(node(None), old, HERE)


def test_a_model_whose_work_is_unknown_is_only_compared_with_itself() -> None:
    assert work.comparable(node(None), record(30.0, None), HERE)
    assert not work.comparable(node(None, model="mine"), record(30.0, None), HERE)
    assert work.seconds(node(None), {}, record(30.0, None)) == 30.0


def test_another_machine_says_nothing() -> None:
    assert not work.comparable(node(), record(30.0), "Another CPU (64 cores)")


def test_what_is_done_once_does_not_grow_with_the_steps() -> None:
    old = record(48.0, 2.0, steps=60, batch=4)
    old["metrics"] = [["images_per_s", speed, 10] for speed in (5.0, 10.0, 12.0)]  # the first steps are slow
    assert work.seconds(node(2.0), {"steps": 600}, old) == pytest.approx(24 + 240)
    del old["metrics"]
    assert work.seconds(node(2.0), {"steps": 600}, old) == 480.0


def test_a_timing_that_ends_by_the_clock_takes_what_it_took() -> None:
    old = record(40.0, 1.0, runs=200, max_seconds=20)
    assert work.seconds(node(50.0, stage="latency"), {"runs": 200, "max_seconds": 20}, old) == 40.0


def test_without_any_record_only_what_takes_long_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "driver", lambda: None)
    options = {"method": "qat_distill", "steps": 5000}
    large = node(4 * 56e9)  # PP-YOLOE-l at 640x640, four images a step
    guessed = work.guess(large, options)
    assert guessed is not None and 10 < guessed / 3600 < 17
    assert work.guess(node(4 * 56e9, threads=4), options) == guessed / 2
    assert work.guess(large, {**options, "steps": 50}) is None
    assert work.guess(large, {**options, "method": "ptq"}) is None
    assert work.guess(node(4 * 56e9, stage="export"), options) is None and work.guess(node(None), options) is None
    monkeypatch.setattr(provenance, "driver", lambda: "535")
    assert work.guess(large, options) is None


def test_a_stage_that_is_the_same_for_every_model_needs_no_work() -> None:
    plain = Node(id="draw", stage="draw", options=Options())
    assert work.comparable(plain, {**record(30.0), "work": None}, HERE) and work.same_model(plain, record(1.0))
    assert work.seconds(plain, {}, record(30.0)) == 30.0
    assert work.plain(None) is None and work.plain(node(2.0).work) == {
        "model": "small", "amount": 2.0, "parameters": 10.0,
    }  # fmt: skip
