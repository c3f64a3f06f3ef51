"""The distillation loop, with a student of four numbers: scores, going back, interruptions at any point."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.distillation.loop import CHECKPOINT, Loop
from stages.errors import StageError
from stages.options.compression import CompressionSettings
from stages.training.checkpoint import read_archive
from tests.fakes import FakeContext

STEPS = 24


class Killed(BaseException):
    """A kill -9, as far as the loop's files are concerned."""


class Student:
    """Gradient descent on the squared distance to each batch's point; above a rate of 1 it runs away."""

    def __init__(self) -> None:
        self.weights = np.full(4, 5.0)
        self.rates: list[float] = []

    def step(self, step: int, feeds: Mapping[str, Any], rate: float) -> float:
        self.rates.append(rate)
        loss = float(np.sum((self.weights - feeds["point"]) ** 2))
        self.weights = self.weights - 2 * rate * (self.weights - feeds["point"])
        return loss if loss < 1e6 else math.nan

    def state(self) -> dict[str, Any]:
        return {"weights": self.weights.copy()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.weights = np.array(state["weights"])


class Distance:
    """Scores by the distance to the origin."""

    metric, higher_is_better = "eval_loss", False

    def __init__(self, student: Student) -> None:
        self.student = student
        self.asked = 0
        self.before: Callable[[], None] = lambda: None

    def score(self, stopped: Callable[[], bool]) -> float | None:
        self.asked += 1
        self.before()
        return None if stopped() else float(np.linalg.norm(self.student.weights))


def batch(step: int) -> dict[str, Any]:
    return {"point": np.random.default_rng(step).normal(0, 1, 4) + (2 if step > 12 else 0)}


def make(folder: Path, batches: Callable[[int], Any] = batch, **changes: Any) -> tuple[Loop, Student, FakeContext]:
    settings: dict[str, Any] = {"steps": STEPS, "lr": 0.05, "eval_every": 4, "checkpoint_every": 3, "log_every": 2}
    student, context = Student(), FakeContext(folder)
    options = CompressionSettings(**{**settings, **changes})
    evaluator = Distance(student) if options.eval_every else None
    return Loop(student, batches, evaluator, options, context), student, context


def test_the_best_state_is_kept_not_the_last(tmp_path: Path) -> None:
    loop, student, context = make(tmp_path, lr=0.2)
    done = loop.run()
    assert [s["step"] for s in done.scores] == [0, 4, 8, 12, 16, 20, 24]
    scores = {s["step"]: s["eval_loss"] for s in done.scores}
    assert done.best == min(scores, key=lambda step: scores[step]) < STEPS  # the points move away after step 12
    assert np.linalg.norm(student.weights) == pytest.approx(scores[done.best])
    assert [(v, s) for n, v, s in context.metrics if n == "eval_loss"] == [(v, k) for k, v in scores.items()]
    assert context.value("best_step") == done.best
    assert len(list(context.work.glob("best-*.npz"))) == 1


def test_without_scores_the_last_state_is_it(tmp_path: Path) -> None:
    loop, student, context = make(tmp_path, lr=0.2, eval_every=None)
    done = loop.run()
    assert done.scores == [] and done.step == STEPS
    state, _ = read_archive(context.work / CHECKPOINT)
    np.testing.assert_array_equal(student.weights, state["weights"])


def test_the_rate_ends_where_the_recipe_says(tmp_path: Path) -> None:
    """PaddleSlim's: ``CosineAnnealingDecay(3e-5, T_max=6000)``, 5000 steps, whose rate after ``t`` of them is
    ``lr * (1 + cos(pi * t / T_max)) / 2``."""

    def rates(*steps: int, **changes: Any) -> list[float]:
        loop = make(tmp_path, **{"steps": 5000, "lr": 3e-5, **changes})[0]
        return [loop.rate(step) for step in steps]

    ends = rates(0, 2500, 4999, cosine_length=1.2)
    assert ends == pytest.approx([3e-5, 3e-5 * (1 + math.cos(math.pi * 2500 / 6000)) / 2, 2.01e-6], rel=2e-3)
    assert rates(0, 4999) == pytest.approx([3e-5, 0.0], abs=1e-10)  # the default: to 0
    there = rates(5999, 6000, 6001, 7999, steps=8000, cosine_length=0.75)  # T_max 6000 of 8000 steps: it rises again
    assert there[1] == 0 < there[0] and there[0] == pytest.approx(there[2]) and there[3] > 7e-6
    assert rates(0, 2500, 4999, lr_schedule="constant") == [3e-5] * 3
    assert rates(0, 4, 9, lr_schedule="constant", warmup_steps=10) == pytest.approx([3e-6, 1.5e-5, 3e-5])
    assert rates(10, 4999, cosine_length=1.2, warmup_steps=10) == pytest.approx([3e-5, 2.01e-6], rel=1e-2)


class Accuracy(Distance):
    """mAP that rises as the student comes nearer."""

    metric, higher_is_better = "eval_map", True

    def score(self, stopped: Callable[[], bool]) -> float | None:
        distance = super().score(stopped)
        return None if distance is None else 100 - distance


def test_training_stops_when_the_score_is_as_good_as_asked_for(tmp_path: Path) -> None:
    def run(folder: Path, target: float | None, kill: int = 0) -> tuple[Any, Student, FakeContext]:
        loop, student, context = make(folder, eval_by="map", target_map=target)
        loop.evaluator = accuracy = Accuracy(student)

        def before() -> None:
            if kill and loop.progress.step == kill:
                raise Killed

        accuracy.before = before
        return loop.run(), student, context

    whole, _, _ = run(tmp_path / "whole", None)
    scores = {int(s["step"]): s["eval_map"] for s in whole.scores}
    assert scores[4] < scores[8] < scores[12]
    done, student, context = run(tmp_path / "target", (scores[4] + scores[8]) / 2)
    assert (done.step, done.best, len(student.rates)) == (8, 8, 8)
    assert any("done at step 8 of 24: the score has reached compression.target_map=" in text for text in context.infos)
    with pytest.raises(Killed):  # while the score is computed that reaches it
        run(tmp_path / "killed", (scores[4] + scores[8]) / 2, kill=8)
    again, student, _ = run(tmp_path / "killed", (scores[4] + scores[8]) / 2)
    assert (again.step, again.points, again.scores) == (8, done.points, done.scores)
    assert run(tmp_path / "at once", 1.0)[0].step == 0  # so good before the first step
    never, _, context = run(tmp_path / "never", 100.0)
    assert never.step == STEPS and not any("reached" in text for text in context.infos)


@pytest.mark.parametrize("place", ["step", "batch", "score"])
@pytest.mark.parametrize("at", [1, 3, 4, 7])
def test_a_kill_at_any_point_changes_nothing(place: str, at: int, tmp_path: Path) -> None:
    expected_loop, expected, _ = make(tmp_path / "whole")
    whole = expected_loop.run()
    loop, student, _ = make(tmp_path / "killed")
    seen = []

    def count(*_: Any) -> None:
        seen.append(1)
        if len(seen) == at:
            raise Killed

    if place == "step":
        usual = student.step
        student.step = lambda number, feeds, rate: (count(), usual(number, feeds, rate))[1]  # type: ignore[method-assign]
    elif place == "batch":
        loop.batch = lambda step: (count(), batch(step))[1]
    else:
        assert isinstance(loop.evaluator, Distance)
        loop.evaluator.before = count
    with pytest.raises(Killed):
        loop.run()
    reached = loop.progress.step
    again, student, context = make(tmp_path / "killed")
    starts: list[int] = []
    again.batch = lambda step: (starts.append(step), batch(step))[1]
    done = again.run()
    assert reached - min(starts, default=STEPS) <= 3  # checkpoint_every
    assert (done.points, done.scores, done.best) == (whole.points, whole.scores, whole.best)
    np.testing.assert_array_equal(student.weights, expected.weights)
    assert context.warnings == []


def test_a_kill_while_scoring_costs_no_step(tmp_path: Path) -> None:
    loop, _, _ = make(tmp_path, checkpoint_every=4)

    def kill() -> None:
        if loop.progress.step == 8:
            raise Killed

    assert isinstance(loop.evaluator, Distance)
    loop.evaluator.before = kill
    with pytest.raises(Killed):
        loop.run()
    again, student, _ = make(tmp_path, checkpoint_every=4)
    again.run()
    assert len(student.rates) == STEPS - 8


def test_a_schedule_of_its_own_takes_the_place_of_the_options_and_is_halved_too(tmp_path: Path) -> None:
    loop, _, _ = make(tmp_path)
    loop.schedule = lambda step: 0.1 * step
    assert loop.rate(3) == pytest.approx(0.3)
    loop.progress.retries = 1
    assert loop.rate(3) == pytest.approx(0.15)


def test_a_student_that_runs_away_gets_half_the_rate(tmp_path: Path) -> None:
    loop, student, context = make(tmp_path, lr=1.5, eval_every=4)
    done = loop.run()
    assert done.step == STEPS and done.retries in (1, 2)
    assert len(context.warnings) == done.retries
    assert "back to step 0 with half the rate" in context.warnings[0]
    assert student.rates[0] == 1.5 and max(student.rates[-STEPS:]) == 1.5 / 2**done.retries
    assert [p["step"] for p in done.points] == list(range(2, STEPS + 1, 2))  # no point twice


def test_three_times_is_enough_and_says_step_and_rate(tmp_path: Path) -> None:
    loop, _, context = make(tmp_path, lr=1e9, eval_every=None)
    with pytest.raises(StageError, match=r"nan at step 2 of 24 \(learning rate 2.49e\+08\).*compression\.lr"):
        loop.run()
    assert len(context.warnings) == 2


def test_going_back_survives_a_kill(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole", lr=1.5)[0].run()
    loop, student, _ = make(tmp_path / "killed", lr=1.5)
    usual = student.step

    def step(number: int, feeds: Mapping[str, Any], rate: float) -> float:
        if loop.progress.retries == 1 and loop.progress.step == 1:
            raise Killed
        return usual(number, feeds, rate)

    student.step = step  # type: ignore[method-assign]
    with pytest.raises(Killed):
        loop.run()
    done = make(tmp_path / "killed", lr=1.5)[0].run()
    assert (done.points, done.scores, done.retries) == (whole.points, whole.scores, whole.retries)


def test_a_damaged_checkpoint_is_said_and_left(tmp_path: Path) -> None:
    whole = make(tmp_path)[0].run()
    (tmp_path / "work" / CHECKPOINT).write_bytes(b"PK\x03\x04 cut off")
    loop, _, context = make(tmp_path)
    assert loop.run().points == whole.points
    assert len(context.warnings) == 1 and "from step 0 again" in context.warnings[0]
