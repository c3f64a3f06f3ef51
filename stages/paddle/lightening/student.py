"""The lighter student and the teacher it learns from: static programs in float, as `stages/paddle/compression` has
them for INT8, with the same teacher, losses, runner and scores.

Batch normalization is folded into the convolutions before anything is exchanged: statistics of a batch of four images
would replace those of the real training. Adam, whose steps do not grow with a weight's scale, makes up for the scales
that batch normalization would have held.

In the first steps each block learns alone: it is fed with the original's features and compared with what the
original makes of them, all blocks in the same step. Then the whole learns what `compression.losses.Features` compares.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import paddle
from paddleslim.common.recover_program import recover_inference_program

from stages.artifacts import ExportedModel
from stages.contract import StageContext
from stages.detection.unlabeled import UnlabeledImages
from stages.options.compression import CompressionSettings
from stages.options.lighten import KEEP, LightenOptions
from stages.paddle.compression import anatomy, slim
from stages.paddle.compression.losses import TEACHER, distill_loss, distilled_nodes, relative_error
from stages.paddle.compression.scoring import HeldOutLoss
from stages.paddle.compression.student import Learner
from stages.paddle.compression.teacher import Teacher
from stages.paddle.lightening.activations import exchange
from stages.paddle.runtime.place import current_place, move_here
from stages.paddle.runtime.program import Program, extend, fresh_scope, load_program

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]

LOSS = "features"


@dataclass(frozen=True)
class Lightened:
    """What the model was relieved of."""

    exchanged: int
    """SiLU that something cheaper stands for."""
    kept: int
    """SiLU that stay."""
    parameters: tuple[int, int]
    """Before, and now."""


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
        first = round(options.blocks * options.steps) if ends else 0
        parts = {"blocks": ends, "whole": []} if first else {"whole": []}
        teachers = {
            name: Teacher(program, _all(nodes, alone), model, context.work / "teacher" / name, context.threads)
            for name, alone in parts.items()
        }
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
            lightened=Lightened(exchanged, kept, (before, parameters(program))),
            program=program,
            images=images,
        )


def finish(student: LightStudent, folder: Path) -> None:
    """Write the student's inference model to ``folder``/model.pd*, within the block of `prepare`."""
    student.program.save(folder / "model")


def _exchange(program: Program, options: LightenOptions, features: Sequence[str]) -> tuple[int, int]:
    if options.activation is None or options.activation == KEEP:
        return 0, 0
    exchanged, kept = exchange(program, options.activation, features, head=options.activation_head)
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


def build(
    program: Program, nodes: list[str], settings: CompressionSettings, ends: Sequence[str], prefix: str
) -> slim.Student:
    """The training program: ``program`` up to ``nodes``, the loss and Adam.

    Args:
        program: with an open batch; teacher outputs are fed as ``teacher_`` + node.
        ends: variables that are fed to what follows in the form of the teacher's; each is compared with it.
        prefix: of what is added.
    """
    compared = _all(nodes, ends)
    pruned = program.prune(compared)
    desc = recover_inference_program(pruned.desc, paddle.static.Program())
    fixed = {op.input("Filter")[0] for op in program.ops() if anatomy.is_projection(program, op)}
    for parameter in desc.global_block().all_parameters():
        if parameter.name in fixed:
            parameter.trainable = False
            parameter.stop_gradient = True
    startup = paddle.static.Program()
    with extend(desc, prefix, startup):
        block = desc.global_block()
        for name in compared:
            paddle.static.data(TEACHER + name, list(block.var(name).shape), "float32")
        for op in block.ops if ends else ():
            for end in ends:
                if end in op.input_arg_names:
                    op._rename_input(end, TEACHER + end)
        loss = distill_loss(desc, nodes, settings)
        others = [(block.var(TEACHER + end), block.var(end)) for end in ends if end not in nodes]
        if others:
            loss = loss + relative_error(others)
        optimizer = paddle.optimizer.Adam(learning_rate=settings.lr)
        optimizer.minimize(loss)
        rate = optimizer._global_learning_rate().name
    paddle.static.Executor(current_place()).run(startup)
    return slim.Student(
        train=desc,
        inference=program,
        nodes=nodes,
        loss=loss.name,
        learning_rate=rate,
        state=slim.changing(desc),
        activations={},
    )


def _all(nodes: Sequence[str], ends: Sequence[str]) -> list[str]:
    return [*nodes, *(end for end in ends if end not in nodes)]


def block_ends(program: Program, features: Sequence[str]) -> list[str]:
    """Where blocks end: what the neck gives to the head, and behind the convolution that reads a concatenation, as
    each CSP stage of backbone and neck has one (with attention in between or not)."""
    readers: dict[str, list[Any]] = {}
    ops = program.ops()
    order = {name: i for i, op in enumerate(ops) for name in op.output_arg_names}
    for op in ops:
        for name in op.input_arg_names:
            readers.setdefault(name, []).append(op)
    found = set(features)
    last = max(order[name] for name in features)
    for op in ops:
        if op.type != "concat" or len(program.shape(op.output("Out")[0])) != 4:
            continue
        for convolution in _behind(readers, op.output("Out")[0]):
            end = _activated(program, readers, convolution.output("Output")[0])
            if order[end] < last:
                found.add(end)
    return sorted(found, key=order.__getitem__)


def _behind(readers: Mapping[str, Sequence[Any]], name: str) -> Iterator[Any]:
    """The convolutions that read ``name`` on its whole map, through the product with an attention or not."""
    for op in readers.get(name, ()):
        if op.type == "conv2d":
            yield op
        elif op.type == "elementwise_mul":
            yield from (o for o in readers.get(op.output("Out")[0], ()) if o.type == "conv2d")


def _activated(program: Program, readers: Mapping[str, Sequence[Any]], name: str) -> str:
    """What comes of a convolution's output behind its bias and its activation, where each alone reads the other."""
    for kinds in (("elementwise_add",), ("swish", "silu", "relu")):
        found = readers.get(name, ())
        if len(found) != 1 or found[0].type not in kinds:
            continue
        if found[0].type == "elementwise_add" and not program.block.var(found[0].input("Y")[0]).persistable:
            break  # a residual sum, no bias
        name = found[0].output("Out")[0]
    return name


def parameters(program: Program) -> int:
    """Numbers that a program's convolutions and biases hold."""
    total = 0
    for var in program.desc.list_vars():
        if var.persistable and var.name not in ("feed", "fetch") and var.shape:
            size = 1
            for side in var.shape:
                size *= int(side)
            total += size
    return total
