"""Quantization-aware distillation: PaddleSlim's programs, our loop (``stages.distillation.loop``)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import paddle

from stages.artifacts import ExportedModel
from stages.contract import StageContext
from stages.detection.unlabeled import UnlabeledImages
from stages.distillation.loop import Evaluator, Loop, Progress, Trainee
from stages.options.compression import DistillOptions
from stages.paddle.compression import anatomy, data_parallel, slim
from stages.paddle.compression.calibrate import find_ranges
from stages.paddle.compression.graph_patches import fast_graph_passes
from stages.paddle.compression.ptq import calibration
from stages.paddle.compression.scoring import HeldOutLoss, LabeledMap
from stages.paddle.compression.student import Learner, prepare
from stages.paddle.runtime import place
from stages.paddle.runtime.program import fresh_scope
from stages.paddle.runtime.quiet import silent_bars

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class EvaluationSet:
    """What the student is scored on: unlabeled ``images``, or the COCO content ``coco`` with its images' folder."""

    images: UnlabeledImages | None = None
    coco: dict[str, Any] | None = None
    root: Path = Path()


def distill(
    model: ExportedModel,
    images: UnlabeledImages,
    exam: EvaluationSet | None,
    options: DistillOptions,
    context: StageContext,
) -> Progress:
    """Train the INT8 student of ``model`` and write the best of it to ``context.out``/model.pd*.

    Raises:
        StageError: the student comes apart (see ``stages.distillation.loop``), or nothing can be quantized.
    """
    paddle.seed(context.seed)
    with ExitStack() as stack:
        scope = stack.enter_context(fresh_scope())
        stack.enter_context(silent_bars())
        started = time.perf_counter()
        peers, threads = None, context.threads
        if options.processes > 1:
            gpus = place.gpus_for(options.processes)
            place.use_gpu(bool(gpus))
            peers = stack.enter_context(closing(data_parallel.start_group(model, images, gpus, options, context)))
            threads = data_parallel.share_of_threads(context.threads, options.processes)
        made = prepare(model, options, scope, context.work / "teacher", threads, context.warn)
        program, student, teacher = made.program, made.student, made.teacher
        context.info(f"distilled nodes: {', '.join(made.nodes)}")
        context.metric("prepare_s", time.perf_counter() - started)

        def calibrated(names: list[str]) -> dict[str, float]:
            def batches() -> Iterator[dict[str, Array]]:
                return calibration(images, options.calibration_images, model)

            return find_ranges(program, names, batches, algorithm, context.threads)

        started = time.perf_counter()
        algorithm = "avg" if options.activation_ranges == "moving_average" else options.activation_ranges
        _initial_ranges(student, calibrated(sorted(student.activations)), scope)
        context.metric("calibration_s", time.perf_counter() - started)
        judge: Evaluator | None = None
        if exam is not None and exam.images is not None:
            judge = HeldOutLoss(student, teacher, exam.images, options, scope, context.threads)
        elif exam is not None and exam.coco is not None:
            judge = LabeledMap(student, model, exam.coco, exam.root, options.nms, scope, context)
        trainee: Trainee = Learner(student, scope, threads)
        if peers is not None:
            trainee = data_parallel.DataParallelLearner(trainee, data_parallel.SharedVariables(student, scope), peers)

        def batch(step: int) -> Mapping[str, Array]:
            return teacher.feeds(images, images.indices(data_parallel.batch_number(step, 0, options.processes)))

        done = Loop(trainee, batch, judge, options, context).run()
        if peers is not None:
            peers.close()
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
