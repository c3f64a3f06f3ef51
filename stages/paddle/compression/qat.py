"""Quantization-aware distillation: PaddleSlim's programs. What trains them is a loop that this package does not know.

`prepare` gives a student with all that a loop asks for (`stages/distillation/loop.py` names it), `finish` makes the
INT8 model of what the loop has left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import paddle

from stages.artifacts import ExportedModel
from stages.contract import StageContext
from stages.detection.unlabeled import UnlabeledImages
from stages.options.compression import DistillOptions
from stages.paddle.compression import anatomy, data_parallel, slim
from stages.paddle.compression.calibrate import find_ranges
from stages.paddle.compression.graph_patches import fast_graph_passes
from stages.paddle.compression.ptq import calibration
from stages.paddle.compression.scoring import HeldOutLoss, LabeledMap
from stages.paddle.compression.student import Learner, Prepared, prepare_student, start_projections
from stages.paddle.runtime import place
from stages.paddle.runtime.program import fresh_scope
from stages.paddle.runtime.quiet import silent_bars
from stages.processes.group import ProcessGroup

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class EvaluationSet:
    """What the student is scored on: unlabeled ``images``, or the COCO content ``coco`` with its images' folder."""

    images: UnlabeledImages | None = None
    coco: dict[str, Any] | None = None
    root: Path = Path()


@dataclass(frozen=True)
class Source:
    """What a student is made of and learns from; the same until the end."""

    model: ExportedModel
    images: UnlabeledImages
    options: DistillOptions
    context: StageContext
    scope: Any
    """Where its variables are."""
    calibration: UnlabeledImages
    """What ranges are observed on."""


@dataclass(frozen=True)
class Training:
    """A student that is ready to be trained: ``trainee``, ``evaluator`` (``None``: it is not scored) and `batch` are
    what a loop asks for; `finish` needs the rest."""

    trainee: Learner | data_parallel.DataParallelLearner
    evaluator: HeldOutLoss | LabeledMap | None
    source: Source
    made: Prepared
    peers: ProcessGroup | None
    """The processes that train with this one."""

    def batch(self, step: int) -> Mapping[str, Array]:
        """What step ``step`` (from 0) is fed with."""
        images = self.source.images
        number = data_parallel.batch_number(step, 0, self.source.options.processes)
        return self.made.teacher.feeds(images, images.indices(number))


@contextmanager
def prepare(
    model: ExportedModel,
    images: UnlabeledImages,
    scored_on: EvaluationSet | None,
    options: DistillOptions,
    context: StageContext,
    calibration: UnlabeledImages | None = None,
    teacher: ExportedModel | None = None,
) -> Iterator[Training]:
    """The INT8 student of ``model``, calibrated on ``calibration`` (``None``: on some of ``images``). It learns from
    ``teacher`` (``None``: from ``model``). It lives, with its processes, until the block ends.

    Raises:
        ConfigError: the teacher does not fit the model.
        StageError: nothing can be quantized, or a process of the group is gone.
    """
    paddle.seed(context.seed)
    with ExitStack() as stack:
        scope = stack.enter_context(fresh_scope())
        stack.enter_context(silent_bars())
        source = Source(model, images, options, context, scope, calibration or images)
        started = time.perf_counter()
        peers, threads = None, context.threads
        if options.processes > 1:
            gpus = place.gpus_for(options.processes)
            place.use_gpu(bool(gpus))
            peers = stack.enter_context(
                closing(data_parallel.start_group(model, teacher, images, gpus, options, context))
            )
            threads = data_parallel.share_of_threads(context.threads, options.processes)
        made = prepare_student(model, options, scope, context.work / "teacher", threads, context.warn, teacher)
        context.detail(f"distilled nodes: {', '.join(made.nodes)}")
        context.metric("prepare_s", time.perf_counter() - started)
        started = time.perf_counter()
        _initial_ranges(made.student, _ranges(source, made, sorted(made.student.activations)), scope)
        context.metric("calibration_s", time.perf_counter() - started)
        start_projections(made, images, options.calibration_images, scope, context.threads)
        evaluator = _evaluator(source, made, scored_on)
        yield Training(_trainee(source, made, peers, threads), evaluator, source, made, peers)


def finish(training: Training) -> None:
    """Write the trained student as an INT8 model to ``context.out``/model.pd*, within the block of `prepare`."""
    made, options, context = training.made, training.source.options, training.source.context
    if training.peers is not None:
        training.peers.close()
    started = time.perf_counter()
    # ``program`` is the student without quantizers: it has the trained weights, which are in the scope.
    ranges = _ranges(training.source, made, anatomy.observed_outputs(made.program, options.quantize_op_types))
    with fast_graph_passes(context.warn):
        slim.finish(made.student.inference, ranges, options, training.source.scope, context.out)
    context.metric("finish_s", time.perf_counter() - started)


def _evaluator(source: Source, made: Prepared, scored_on: EvaluationSet | None) -> HeldOutLoss | LabeledMap | None:
    options, context = source.options, source.context
    if scored_on is not None and scored_on.images is not None:
        return HeldOutLoss(made.student, made.teacher, scored_on.images, options, source.scope, context.threads)
    if scored_on is not None and scored_on.coco is not None:
        return LabeledMap(
            made.student, source.model, scored_on.coco, scored_on.root, options.nms, source.scope, context
        )
    return None


def _trainee(
    source: Source, made: Prepared, peers: ProcessGroup | None, threads: int
) -> Learner | data_parallel.DataParallelLearner:
    learner = Learner(made.student, source.scope, threads)
    if peers is None:
        return learner
    return data_parallel.DataParallelLearner(learner, data_parallel.SharedVariables(made.student, source.scope), peers)


def _ranges(source: Source, made: Prepared, names: list[str]) -> dict[str, float]:
    """The ranges of these tensors over some of the images, in the student without quantizers."""
    options = source.options

    def batches() -> Iterator[dict[str, Array]]:
        return calibration(source.calibration, options.calibration_images, source.model)

    algorithm = "avg" if options.activation_ranges == "moving_average" else options.activation_ranges
    return find_ranges(made.program, names, batches, algorithm, source.context.threads)


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
