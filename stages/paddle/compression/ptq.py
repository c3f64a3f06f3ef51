"""Post-training quantization: ranges from a pass over some images, and the same graph as ``qat`` writes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from stages.artifacts import ExportedModel
from stages.contract import StageContext
from stages.detection.inference import feeds_for
from stages.detection.unlabeled import UnlabeledImages
from stages.errors import StageError
from stages.options.compression import DistillOptions
from stages.paddle.compression import anatomy, slim
from stages.paddle.compression.calibrate import find_all_ranges
from stages.paddle.compression.graph_patches import fast_graph_passes
from stages.paddle.runtime.place import move_here
from stages.paddle.runtime.program import Program, fresh_scope, load_program
from stages.paddle.runtime.quiet import silent_bars

Ranges = Mapping[str, float]
"""Tensor -> its range."""


def quantize(
    model: ExportedModel,
    images: UnlabeledImages,
    options: DistillOptions,
    context: StageContext,
    known: Ranges | None = None,
) -> None:
    """Write the INT8 form of ``model`` to ``context.out``/model.pd*.

    Args:
        known: ranges by ``options.ptq_algo`` that `observe_all` has found; ``None``: they are observed now.

    Raises:
        StageError: a range is not a finite number, or nothing can be quantized.
    """
    with _prepared(model, options, context) as (program, inference, scope):
        outputs = anatomy.observed_outputs(program, options.quantize_op_types)
        inputs = slim.quantized_activations(inference)
        names = sorted({*inputs, *outputs})
        ranges = known
        if ranges is None:
            ranges = _observed(model, images, options, context, program, names, [options.ptq_algo])[options.ptq_algo]
        bad = sorted(name for name in names if not math.isfinite(ranges[name]))
        if bad:
            raise StageError(f"the range of {bad[0]} is not a finite number; check the FP32 model and the images.")
        for name in inputs:
            slim.write(scope, name + slim.SCALE, max(ranges[name], slim.SMALLEST_RANGE))
        with fast_graph_passes(context.warn):
            slim.finish(inference, {name: ranges[name] for name in outputs}, options, scope, context.out)


def observe_all(
    model: ExportedModel,
    images: UnlabeledImages,
    options: DistillOptions,
    context: StageContext,
    algorithms: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Algorithm -> tensor -> range for `quantize`, all from one observation."""
    with _prepared(model, options, context) as (program, inference, _):
        outputs = anatomy.observed_outputs(program, options.quantize_op_types)
        names = sorted({*slim.quantized_activations(inference), *outputs})
        return _observed(model, images, options, context, program, names, algorithms)


@contextmanager
def _prepared(
    model: ExportedModel, options: DistillOptions, context: StageContext
) -> Iterator[tuple[Program, Program, Any]]:
    """The float program, the quantized one, and the scope of both."""
    with fresh_scope() as scope, silent_bars():
        loaded = load_program(model.path("model.pdmodel"), model.path("model.pdiparams"))
        program = anatomy.fold_batch_norm(loaded, scope)
        program.set_shapes(anatomy.open_batch(model))
        move_here(program.desc, scope)
        with fast_graph_passes(context.warn):
            inference = slim.build_inference(program, options, scope)
        yield program, inference, scope


def _observed(
    model: ExportedModel,
    images: UnlabeledImages,
    options: DistillOptions,
    context: StageContext,
    program: Program,
    names: Sequence[str],
    algorithms: Sequence[str],
) -> dict[str, dict[str, float]]:
    started = time.perf_counter()
    count = min(options.calibration_images, len(images))
    ranges = find_all_ranges(program, names, lambda: calibration(images, count, model), algorithms, context.threads)
    context.metric("calibration_s", time.perf_counter() - started)
    context.progress(count, count)
    return ranges


def calibration(images: UnlabeledImages, count: int, model: ExportedModel) -> Iterator[dict[str, Any]]:
    """Feeds with ``count`` images of the set, one at a time."""
    for index in images.some(count):
        image, scale = images.load([index])
        yield feeds_for(model, image, scale)
