"""Quantization-aware distillation: PaddleSlim's programs, our loop (``stages.distilling``)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import paddle

from stages.contract import ExportedModel, StageContext
from stages.detection.unlabeled import UnlabeledImages
from stages.distilling import Judge, Loop, Progress
from stages.options import DistillOptions
from stages.paddle import anatomy, slim
from stages.paddle.calibrate import find_ranges
from stages.paddle.execution import Runner
from stages.paddle.graph_patches import fast_graph_passes
from stages.paddle.judging import HeldOutLoss, LabeledMap
from stages.paddle.losses import distilled_nodes
from stages.paddle.program import fresh_scope, load_program
from stages.paddle.ptq import calibration
from stages.paddle.quiet import silent_bars
from stages.paddle.teacher import Teacher

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Exam:
    """What the student is scored on: unlabeled ``images``, or the COCO content ``coco`` with its images' folder."""

    images: UnlabeledImages | None = None
    coco: dict[str, Any] | None = None
    root: Path = Path()


def distill(
    model: ExportedModel, images: UnlabeledImages, exam: Exam | None, options: DistillOptions, context: StageContext
) -> Progress:
    """Train the INT8 student of ``model`` and write the best of it to ``context.out``/model.pd*.

    Raises:
        StageError: the student comes apart (see ``stages.distilling``), or nothing can be quantized.
    """
    paddle.seed(context.seed)
    with fresh_scope() as scope, silent_bars():
        started = time.perf_counter()
        loaded = load_program(model.path("model.pdmodel"), model.path("model.pdiparams"))
        program = anatomy.fold_batch_norm(loaded, scope)
        program.set_shapes(anatomy.open_batch(model))
        nodes = distilled_nodes(program, options.loss)
        context.info(f"distilled nodes: {', '.join(nodes)}")
        teacher = Teacher(program, nodes, model, context.work / "teacher", context.threads)
        with fast_graph_passes(context.warn):
            student = slim.build_student(program, nodes, options, scope)
        context.metric("prepare_s", time.perf_counter() - started)

        def calibrated(names: list[str]) -> dict[str, float]:
            def batches() -> Iterator[dict[str, Array]]:
                return calibration(images, options.calibration_images, model)

            return find_ranges(program, names, batches, algorithm, context.threads)

        started = time.perf_counter()
        algorithm = "avg" if options.activation_ranges == "moving_average" else options.activation_ranges
        _initial_ranges(student, calibrated(sorted(student.activations)), scope)
        context.metric("calibration_s", time.perf_counter() - started)
        judge: Judge | None = None
        if exam is not None and exam.images is not None:
            judge = HeldOutLoss(student, teacher, exam.images, options, scope, context.threads)
        elif exam is not None and exam.coco is not None:
            judge = LabeledMap(student, model, exam.coco, exam.root, options.nms, scope, context)
        trainee = _Student(student, scope, context.threads)
        done = Loop(trainee, lambda step: teacher.feeds(images, images.indices(step)), judge, options, context).run()
        started = time.perf_counter()
        # ``program`` is the student without quantizers: it has the trained weights, which are in the scope.
        ranges = calibrated(anatomy.observed_outputs(program, options.quantize_op_types))
        with fast_graph_passes(context.warn):
            slim.finish(student.inference, ranges, options, scope, context.out)
        context.metric("finish_s", time.perf_counter() - started)
        return done


def _initial_ranges(student: slim.Student, ranges: dict[str, float], scope: Any) -> None:
    """Start the ranges of activations at what the FP32 model shows; moving averages would start at 1.

    PACT's thresholds start at 20, which would cut off what reaches higher: they start no lower than the range.
    """
    for name, (scale, accumulator, state) in student.activations.items():
        value = max(ranges[name], slim.SMALLEST_RANGE)
        slim.write(scope, scale, value)
        slim.write(scope, accumulator, value)
        slim.write(scope, state, 1.0)
        if scope.find_var(name + slim.PACT) is not None and value > float(slim.read(scope, name + slim.PACT)[0]):
            slim.write(scope, name + slim.PACT, value)


class _Student:
    """What the loop trains (see ``stages.distilling.Trainee``): the training program and its variables."""

    def __init__(self, student: slim.Student, scope: Any, threads: int) -> None:
        self._student, self._scope = student, scope
        self._runner = Runner(student.train, threads)

    def step(self, feeds: Mapping[str, Array], rate: float) -> float:
        slim.write(self._scope, self._student.learning_rate, rate)
        (loss,) = self._runner.run(feeds, [self._student.loss])
        return float(loss.reshape(-1)[0])

    def state(self) -> dict[str, Array]:
        return {name: slim.read(self._scope, name) for name in self._student.state}

    def restore(self, state: Mapping[str, Array]) -> None:
        values = [(name, state[name]) for name in self._student.state]  # all are there, or none is changed
        for name, value in values:
            slim.write(self._scope, name, value)
