"""Post-training quantization: ranges from a pass over some images, and the same graph as ``qat`` writes.

With ``equalize`` channels are scaled before ranges are observed, with ``bias_correction`` biases corrected after it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from stages.artifacts import EQUALIZED_FILE, ExportedModel
from stages.contract import StageContext
from stages.detection.inference import feeds_for
from stages.detection.unlabeled import UnlabeledImages
from stages.errors import StageError
from stages.options.compression import DistillOptions
from stages.outside.files import put_text
from stages.paddle.compression import anatomy, slim
from stages.paddle.compression.bias_correction import AT_ONCE, correct_biases
from stages.paddle.compression.calibrate import find_all_ranges
from stages.paddle.compression.equalization import equalize
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
        known: ranges by ``options.ptq_algo`` that `observe_all` has found, of the model as it is: not for one whose
            channels are to be equalised; ``None``: they are observed now.

    Raises:
        StageError: a range is not a finite number, or nothing can be quantized.
    """
    assert known is None or not options.equalize
    with _prepared(model, options, context) as (program, inference, scope):

        def batches(at_once: int) -> Callable[[], Iterator[dict[str, Any]]]:
            return lambda: calibration(images, options.calibration_images, model, at_once)

        if options.equalize:
            done = equalize(program, batches(1), scope, context.threads)
            (context.info if done.changes else context.warn)(done.told())
            if done.changes:
                put_text(context.out / EQUALIZED_FILE, json.dumps(done.changes))
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
        if options.bias_correction:
            corrected = correct_biases(program, inference, batches(AT_ONCE), scope, context.threads)
            context.detail(
                f"bias correction: {corrected.layers} convolutions, by at most {corrected.largest:.2f} of a layer's "
                "mean magnitude"
            )
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


def calibration(
    images: UnlabeledImages, count: int, model: ExportedModel, at_once: int = 1
) -> Iterator[dict[str, Any]]:
    """Feeds with ``count`` images of the set, ``at_once`` at a time (the last ones may be fewer)."""
    chosen = images.some(count)
    for start in range(0, len(chosen), at_once):
        image, scale = images.load(chosen[start : start + at_once])
        yield feeds_for(model, image, scale)
