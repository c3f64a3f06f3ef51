"""The student and its teacher, made from the exported model: the same in every process that trains it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from stages.artifacts import ExportedModel
from stages.detection.unlabeled import UnlabeledImages
from stages.options.compression import CompressionSettings
from stages.paddle.compression import anatomy, slim
from stages.paddle.compression.graph_patches import fast_graph_passes
from stages.paddle.compression.larger_teacher import larger_teacher
from stages.paddle.compression.losses import TEACHER, distilled_nodes
from stages.paddle.compression.projection import best_projections
from stages.paddle.compression.teacher import Teacher
from stages.paddle.runtime.execution import Runner
from stages.paddle.runtime.place import move_here
from stages.paddle.runtime.program import Program, load_program

Array = npt.NDArray[Any]


@dataclass
class Prepared:
    """A student before its first step, with what it learns from; its variables are in the current scope."""

    program: Program
    """The student without quantizers: it shares the weights, and has the trained ones afterwards."""
    nodes: list[str]
    teacher: Teacher
    student: slim.Student


def prepare_student(
    model: ExportedModel,
    options: CompressionSettings,
    scope: Any,
    folder: Path,
    threads: int,
    warn: Callable[[str], None],
    larger: ExportedModel | None = None,
) -> Prepared:
    """Load ``model`` into ``scope`` and quantize it; the teacher's files go to ``folder``. The teacher is ``model``
    itself or a ``larger`` one.

    Raises:
        ConfigError: the larger model does not fit.
    """
    loaded = load_program(model.path("model.pdmodel"), model.path("model.pdiparams"))
    program = anatomy.fold_batch_norm(loaded, scope)
    program.set_shapes(anatomy.open_batch(model))
    nodes = distilled_nodes(program, options.loss)
    if larger is None:
        teacher = Teacher(program, nodes, model, folder, threads)
    else:
        teacher = larger_teacher(larger, model, program, nodes, options.loss, folder, threads)
    move_here(program.desc, scope)
    with fast_graph_passes(warn):
        student = slim.build_student(program, nodes, options, scope, teacher.fit.shapes if teacher.fit else None)
    return Prepared(program, nodes, teacher, student)


def start_projections(made: Prepared, images: UnlabeledImages, count: int, scope: Any, threads: int) -> None:
    """Give the projections onto a larger teacher's features their first weights, from ``count`` of the images."""
    fit = made.teacher.fit
    targets = {node: TEACHER + node for node in (made.nodes[fit.heads :] if fit else [])}
    if targets:
        feeds = (made.teacher.feeds(images, [index]) for index in images.some(count))
        for name, value in best_projections(made.program, targets, feeds, threads).items():
            slim.write(scope, name, value)


class Learner:
    """What the loop trains (as a ``stages.distillation.loop.Trainee``): the training program and its variables."""

    def __init__(self, student: slim.Student, scope: Any, threads: int) -> None:
        self._student, self._scope = student, scope
        self._runner = Runner(student.train, threads)

    @property
    def names(self) -> list[str]:
        """The variables of a state."""
        return self._student.state

    def step(self, step: int, feeds: Mapping[str, Array], rate: float) -> float:
        slim.write(self._scope, self._student.learning_rate, rate)
        (loss,) = self._runner.run(feeds, [self._student.loss])
        return float(loss.reshape(-1)[0])

    def state(self) -> dict[str, Array]:
        return {name: slim.read(self._scope, name) for name in self._student.state}

    def restore(self, state: Mapping[str, Array]) -> None:
        values = [(name, state[name]) for name in self._student.state]  # all are there, or none is changed
        for name, value in values:
            slim.write(self._scope, name, value)
