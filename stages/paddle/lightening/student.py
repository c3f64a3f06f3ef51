"""The lighter student and the teacher it learns from: static programs in float, as `stages/paddle/compression` has
them for INT8, with the same teacher, losses, runner and scores.

Batch normalization is folded into the convolutions before anything is exchanged: statistics of a batch of four images
would replace those of the real training. Adam, whose steps do not grow with a weight's scale, makes up for the scales
that batch normalization would have held.

In the first steps each block learns alone: it is fed with the original's features and compared with what the
original makes of them, all blocks in the same step. Then the whole learns what `compression.losses.Features` compares.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import paddle

from stages.artifacts import ExportedModel
from stages.contract import StageContext
from stages.detection.unlabeled import UnlabeledImages
from stages.options.compression import CompressionSettings
from stages.options.lighten import KEEP, LightenOptions, blocks_steps
from stages.paddle.compression import anatomy
from stages.paddle.compression.losses import TEACHER, distilled_nodes
from stages.paddle.compression.ptq import calibration
from stages.paddle.compression.scoring import HeldOutLoss
from stages.paddle.compression.student import Learner
from stages.paddle.compression.teacher import Teacher
from stages.paddle.lightening.activations import exchange
from stages.paddle.lightening.blocks import block_ends, build, joined, kept_channels
from stages.paddle.lightening.channels import Pruning, prune_channels
from stages.paddle.runtime.place import move_here, stored
from stages.paddle.runtime.program import Program, fresh_scope, load_program

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]

LOSS = "features"
LOOKED_AT = 32
"""Images that say which channels matter."""


@dataclass(frozen=True)
class Lightened:
    """What the model was relieved of."""

    exchanged: int
    """SiLU that something cheaper stands for."""
    kept: int
    """SiLU that stay."""
    parameters: tuple[int, int]
    """Before, and now."""
    macs: tuple[int, int] | None
    """Multiply-adds of the convolutions for one image, before and now; ``None`` where no channel was taken away."""


@dataclass(frozen=True)
class LightStudent:
    """A student that is ready to be trained, with what a loop asks for; `finish` writes it."""

    trainee: Phases
    evaluator: HeldOutLoss | None
    lightened: Lightened
    program: Program
    """The whole student; its variables are those that are trained."""
    images: UnlabeledImages

    def batch(self, step: int) -> Feeds:
        """What step ``step`` (from 0) is fed with."""
        return self.trainee.phase(step).teacher.feeds(self.images, self.images.indices(step))


class LargerTeacher(Teacher):
    """The original beside a student that lacks some of its channels: what is compared is without them too."""

    _left: Mapping[str, Array] = {}

    def keep(self, channels: Mapping[str, Array]) -> None:
        """Node -> the channels that the student has of it."""
        self._left = channels

    def feeds(self, images: UnlabeledImages, indices: Sequence[int]) -> dict[str, Array]:
        feeds = super().feeds(images, indices)
        for node, left in self._left.items():
            if TEACHER + node in feeds:
                feeds[TEACHER + node] = feeds[TEACHER + node][:, left]
        return feeds


@dataclass(frozen=True)
class Phase:
    """Steps in which the same loss is trained."""

    until: int
    """The first step behind them."""
    learner: Learner
    teacher: Teacher


class Phases:
    """What the loop trains: blocks alone in the first steps, then the whole. All train the same weights."""

    def __init__(self, phases: Sequence[Phase]) -> None:
        self._phases = phases

    def phase(self, step: int) -> Phase:
        """The one that a step (from 0) belongs to."""
        return next((phase for phase in self._phases if step < phase.until), self._phases[-1])

    def step(self, step: int, feeds: Feeds, rate: float) -> float:
        return self.phase(step).learner.step(step, feeds, rate)

    def state(self) -> dict[str, Array]:
        return {name: value for phase in self._phases for name, value in phase.learner.state().items()}

    def restore(self, state: Mapping[str, Array]) -> None:
        for phase in self._phases:
            for name in phase.learner.names:
                state[name]  # all are there, or none is changed
        for phase in self._phases:
            phase.learner.restore(state)


@contextmanager
def prepare(
    model: ExportedModel,
    images: UnlabeledImages,
    scored_on: UnlabeledImages | None,
    options: LightenOptions,
    context: StageContext,
) -> Iterator[LightStudent]:
    """The lighter student of ``model``, which lives until the block ends.

    Raises:
        ConfigError: the model has no SiLU to exchange, or not the head that the loss looks at.
    """
    paddle.seed(context.seed)
    with fresh_scope() as scope:
        started = time.perf_counter()
        program = anatomy.fold_batch_norm(
            load_program(model.path("model.pdmodel"), model.path("model.pdiparams")), scope
        )
        program.set_shapes(anatomy.open_batch(model))
        before = parameters(program)
        nodes = distilled_nodes(program, LOSS)
        features = nodes[len(nodes) // 3 * 2 :]
        ends = block_ends(program, features)
        first = blocks_steps(options)
        parts = {"blocks": ends, "whole": []} if first else {"whole": []}
        teachers = {
            name: LargerTeacher(program, joined(nodes, alone), model, context.work / "teacher" / name, context.threads)
            for name, alone in parts.items()
        }
        pruned = None
        if options.prune is not None:
            pruned = prune_channels(
                program,
                scope,
                Pruning(options.prune),
                lambda: calibration(images, LOOKED_AT, model),
                threads=context.threads,
            )
            for teacher in teachers.values():
                teacher.keep(kept_channels(program, pruned, joined(nodes, ends)))
            program = pruned.program
        exchanged, kept = _exchange(program, options, features)
        move_here(program.desc, scope)
        settings = loss_settings(options)
        students = {name: build(program, nodes, settings, alone, name) for name, alone in parts.items()}
        context.detail(f"distilled nodes: {', '.join(nodes)}; ends of blocks: {', '.join(ends)}")
        context.metric("prepare_s", time.perf_counter() - started)
        evaluator = None
        if scored_on is not None:
            evaluator = HeldOutLoss(students["whole"], teachers["whole"], scored_on, settings, scope, context.threads)
        until = {"blocks": first, "whole": options.steps}
        phases = [
            Phase(until[name], Learner(student, scope, context.threads), teachers[name])
            for name, student in students.items()
        ]
        yield LightStudent(
            trainee=Phases(phases),
            evaluator=evaluator,
            lightened=Lightened(
                exchanged, kept, (before, parameters(program)), None if pruned is None else pruned.macs
            ),
            program=program,
            images=images,
        )


def finish(student: LightStudent, folder: Path) -> None:
    """Write the student's inference model to ``folder``/model.pd*, within the block of `prepare`."""
    student.program.save(folder / "model")


def _exchange(program: Program, options: LightenOptions, features: Sequence[str]) -> tuple[int, int]:
    if options.activation is None or options.activation == KEEP:
        return 0, 0
    exchanged, kept = exchange(
        program, options.activation, features, head=options.activation_head, share=options.activation_share
    )
    return len(exchanged), kept


def loss_settings(options: LightenOptions) -> CompressionSettings:
    """What the losses and the loop read."""
    return CompressionSettings(
        loss=LOSS,
        steps=options.steps,
        lr=options.lr,
        weight_decay=0.0,
        batch=options.batch,
        temperature=options.temperature,
        feature_weight=options.feature_weight,
        eval_every=options.eval_every,
        eval_images=options.eval_images,
        checkpoint_every=options.checkpoint_every,
        log_every=options.log_every,
    )


def parameters(program: Program) -> int:
    """Numbers that a program's convolutions and biases hold."""
    return sum(math.prod(int(side) for side in var.shape) for var in stored(program.desc) if var.shape)
