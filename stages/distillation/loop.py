"""The loop of a distillation: steps, scores, checkpoints. It knows no Paddle: it trains a `Trainee` and asks
an `Evaluator`, as which those of ``stages.paddle.compression`` serve without knowing the loop.

The student is scored before the first step, every ``eval_every`` steps and after the last; the best state is what the
loop ends with. Where a loss is not a finite number, or a score says that the student has diverged, the loop goes back
to the best state and tries again with half the learning rate, twice.

Beside the checkpoint ``checkpoint.npz`` (the last state and the curve so far) lies ``best-STEP.npz``. Both are written
beside the old ones and renamed; a checkpoint is written before the student is scored, so that a scoring that is
interrupted costs no step. Every step and every score follow from the state and the step's number: a loop that was
interrupted makes the same curve and the same choice as one that was not.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from stages.contract import StageContext
from stages.detection.loader import prefetch
from stages.distillation.schedule import by_options
from stages.errors import StageError
from stages.options.compression import CompressionSettings
from stages.training.checkpoint import read_archive, write_archive
from stages.training.stopping import stop_requests

Array = npt.NDArray[Any]

CHECKPOINT = "checkpoint.npz"
RETRIES = 2  # with half the learning rate each
DIVERGENCE_FACTOR = 2.0  # a score this many times worse than the untrained student's says that training destroys it


class Trainee(Protocol):
    """What is trained."""

    def step(self, step: int, feeds: Mapping[str, Array], rate: float) -> float:
        """Step ``step`` (from 0) at this learning rate; the loss before it."""

    def state(self) -> dict[str, Array]:
        """Copies of everything that steps change."""

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take up a ``state``."""


class Evaluator(Protocol):
    """Scores the student as it is."""

    metric: str
    """``eval_loss`` or ``eval_map``."""
    higher_is_better: bool

    def score(self, stopped: Callable[[], bool]) -> float | None:
        """The score, or ``None`` if ``stopped`` said so in between."""


@dataclass
class Progress:
    """How far the loop is: what a checkpoint holds beside the student's state."""

    step: int = 0
    points: list[dict[str, float]] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)
    """Losses since the last point."""
    scores: list[dict[str, float]] = field(default_factory=list)
    best: int = 0
    """The step of the best state."""
    retries: int = 0

    def write(self, out: Path) -> None:
        """``history.json``, the curve, and where the student was scored ``scores.json``."""
        (out / "history.json").write_text(json.dumps(self.points, indent=1), encoding="utf-8")
        if self.scores:
            scores = {"best": self.best, "scores": self.scores}
            (out / "scores.json").write_text(json.dumps(scores, indent=1), encoding="utf-8")


class _Failed(Exception):
    """The student has diverged; the text says how, ``rate`` was the learning rate."""

    def __init__(self, text: str, rate: float) -> None:
        super().__init__(text)
        self.rate = rate


class Loop:
    """See the module's docstring. ``batch(step)`` gives what step ``step`` (from 0) is fed with; ``rate_key``
    is the config key of the learning rate; ``schedule(step)`` gives that rate; by default it is what the
    options say."""

    def __init__(
        self,
        trainee: Trainee,
        batch: Callable[[int], Mapping[str, Array]],
        evaluator: Evaluator | None,
        options: CompressionSettings,
        context: StageContext,
        *,
        rate_key: str = "compression.lr",
        schedule: Callable[[int], float] | None = None,
    ) -> None:
        self.trainee = trainee
        self.batch = batch
        self.evaluator = evaluator
        self.options = options
        self.context = context
        self.rate_key = rate_key
        self.schedule: Callable[[int], float] = schedule or (lambda step: by_options(step, options))
        self.progress = Progress()

    def run(self) -> Progress:
        """Train to the end, from the last checkpoint if there is one; the trainee is left in its best state.

        Raises:
            StageError: it diverged a third time.
            SystemExit: the process was asked to stop; the work is saved.
        """
        if not self._resume():
            self._save_best()
        with stop_requests() as stop:
            while (self.progress.step < self.options.steps or self._due()) and not self._reached():
                try:
                    self._train(stop)
                except _Failed as failure:
                    self._go_back(failure)
        p = self.progress
        if self.evaluator is not None and p.scores:
            if p.best != p.step:
                self.trainee.restore(read_archive(self._best(p.best))[0])
            said = {int(s["step"]): f"{s[self.evaluator.metric]:.4f}" for s in p.scores}
            self.context.metric("best_step", p.best)
            if self._reached() and p.step < self.options.steps:
                self.context.info(
                    f"done at step {p.step} of {self.options.steps}: the score has reached "
                    f"compression.target_map={self.options.target_map:g}"
                )
            self.context.detail(
                f"best at step {p.best} of {p.step}: {self.evaluator.metric} {said[p.best]} (before the first step "
                f"{said[0]}, after the last {said[p.step]})"
            )
        return p

    def rate(self, step: int) -> float:
        """Learning rate of step ``step`` (from 0), halved with each retry."""
        rate: float = self.schedule(step) / 2**self.progress.retries
        return rate

    def _train(self, stop: Sequence[int]) -> None:
        """From where the loop stands to the last step."""
        o, p = self.options, self.progress
        if self._due():
            self._score(stop)
            if self._reached():
                return
        started, images = time.perf_counter(), 0
        with closing(prefetch(self.batch, p.step, o.steps)) as batches:
            for feeds in batches:
                rate = self.rate(p.step)
                loss = self.trainee.step(p.step, feeds, rate)
                p.step += 1
                if not math.isfinite(loss):
                    raise _Failed(f"the distillation loss became {loss} at step {p.step} of {o.steps}", rate)
                p.recent.append(loss)
                images += o.batch * o.processes
                if p.step % o.log_every == 0 or p.step == o.steps:
                    self._report(rate, images / (time.perf_counter() - started))
                    started, images = time.perf_counter(), 0
                if stop:
                    self._end(stop)
                if p.step % o.checkpoint_every == 0 or p.step == o.steps:
                    self._save()
                if self._due():
                    before = time.perf_counter()
                    self._score(stop)
                    if self._reached():
                        return
                    started += time.perf_counter() - before  # images/s is that of the steps

    def _report(self, rate: float, speed: float) -> None:
        p = self.progress
        loss = sum(p.recent) / len(p.recent)
        p.recent.clear()
        p.points.append({"step": p.step, "loss": loss, "lr": rate})
        self.context.metric("loss", loss, p.step)
        self.context.metric("lr", rate, p.step)
        self.context.metric("images_per_s", speed, p.step)
        self.context.progress(p.step, self.options.steps, loss=loss, lr=rate, images_per_s=speed)

    # --- scores -------------------------------------------------------------------------------------------------

    def _due(self) -> bool:
        """Whether the student is to be scored where the loop stands."""
        o, p = self.options, self.progress
        if self.evaluator is None or not o.eval_every or any(s["step"] == p.step for s in p.scores):
            return False
        return p.step % o.eval_every == 0 or p.step == o.steps

    def _reached(self) -> bool:
        """Whether a score is as good as was asked for."""
        target = self.options.target_map
        return target is not None and any(s.get("eval_map", -math.inf) >= target for s in self.progress.scores)

    def _score(self, stop: Sequence[int]) -> None:
        evaluator, p = self.evaluator, self.progress
        assert evaluator is not None
        score = evaluator.score(lambda: bool(stop))
        if score is None:
            self._end(stop)
            return
        rate = self.rate(max(0, p.step - 1))
        first = p.scores[0][evaluator.metric] if p.scores else score
        worst = first / DIVERGENCE_FACTOR if evaluator.higher_is_better else first * DIVERGENCE_FACTOR
        lost = score < worst if evaluator.higher_is_better else score > worst
        if not math.isfinite(score) or lost:
            if p.step == 0:
                raise StageError(
                    f"{evaluator.metric} is {score} before the first step: the quantized model gives no usable "
                    "outputs. Check the FP32 model and the images (compression.eval_every=null trains without a score)."
                )
            raise _Failed(f"{evaluator.metric} went from {first:.4g} to {score:.4g} by step {p.step}", rate)
        best = next((s[evaluator.metric] for s in p.scores if s["step"] == p.best), None)
        p.scores.append({"step": p.step, evaluator.metric: score})
        self.context.metric(evaluator.metric, score, p.step)
        if best is None or (score > best if evaluator.higher_is_better else score < best):
            p.best = p.step
            self._save_best()

    def _go_back(self, failure: _Failed) -> None:
        """To the best state, with half the rate."""
        p = self.progress
        if p.retries == RETRIES:
            raise StageError(
                f"{failure} (learning rate {failure.rate:.2e}), after going back to step {p.best} {RETRIES} times with "
                f"half the rate each. Lower {self.rate_key}, or check the images and the FP32 model."
            )
        p.retries += 1
        p.step = p.best
        p.recent.clear()
        p.points = [point for point in p.points if point["step"] <= p.best]
        p.scores = [score for score in p.scores if score["step"] <= p.best]
        self.trainee.restore(read_archive(self._best(p.best))[0])
        self._save()
        self.context.warn(
            f"{failure} (learning rate {failure.rate:.2e}); back to step {p.best} with half the rate "
            f"({p.retries} of {RETRIES} times)"
        )

    # --- checkpoints --------------------------------------------------------------------------------------------

    def _end(self, stop: Sequence[int]) -> None:
        """Leave as asked, with the work saved."""
        self._save()
        self.context.info(
            f"stopped at step {self.progress.step} of {self.options.steps}; the same command continues from there"
        )
        raise SystemExit(128 + stop[0])

    def _best(self, step: int) -> Path:
        return self.context.work / f"best-{step}.npz"

    def _save_best(self) -> None:
        write_archive(self._best(self.progress.step), self.trainee.state(), {})

    def _save(self) -> None:
        """Write the checkpoint; only then may an older best state go, which the older checkpoint named."""
        write_archive(self.context.work / CHECKPOINT, self.trainee.state(), asdict(self.progress))
        for path in self.context.work.glob("best-*.npz"):
            if path != self._best(self.progress.best):
                path.unlink()

    def _resume(self) -> bool:
        """Take up the checkpoint of an interrupted loop, if there is one that can be used."""
        path = self.context.work / CHECKPOINT
        if not path.is_file():
            return False
        try:
            state, meta = read_archive(path)
            progress = Progress(**meta)
            read_archive(self._best(progress.best))
            self.trainee.restore(state)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.context.warn(
                f"the checkpoint of the interrupted compression cannot be used ({error}); from step 0 again"
            )
            return False
        self.progress = progress
        self.context.info(f"continues from step {progress.step} of an interrupted compression")
        return True
