"""Post-training quantization: ranges by Paddle's algorithms, the same graph as ``qat`` writes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle.static.quantization import PostTrainingQuantization

from stages.contract import ExportedModel, StageContext
from stages.detection.unlabeled import UnlabeledImages
from stages.errors import StageError
from stages.options import DistillOptions
from stages.paddle import slim
from stages.paddle.graph_patches import fast_graph_passes
from stages.paddle.program import fresh_scope, load_program


def quantize(model: ExportedModel, images: UnlabeledImages, options: DistillOptions, context: StageContext) -> None:
    """Write the INT8 form of ``model`` to ``context.out``/model.pd*.

    Raises:
        StageError: a range is not a finite number, or nothing can be quantized.
    """
    with fresh_scope() as scope, slim.silent_bars():
        loaded = load_program(model.path("model.pdmodel"), model.path("model.pdiparams"))
        program = slim.fold_batch_norm(loaded, scope)
        program.set_shapes(slim.open_batch(model))
        folder = context.work / "fp32"
        folder.mkdir(parents=True, exist_ok=True)
        program.save(folder / "model")
        started = time.perf_counter()
        ranges = _ranges(folder, model, images, options, context)
        context.metric("calibration_s", time.perf_counter() - started)
        bad = sorted(name for name, value in ranges.items() if not math.isfinite(value))
        if bad:
            raise StageError(f"the range of {bad[0]} is not a finite number; check the FP32 model and the images.")
        nodes = slim.distilled_nodes(program)
        with fast_graph_passes(context.warn):
            inference = slim.build_inference(program, options, scope)
            outputs = slim.observed_outputs(inference, nodes)
            for name in slim.quantized_activations(inference):
                slim.write(scope, name + slim.SCALE, np.float32(max(ranges[name], slim.SMALLEST_RANGE)))
            slim.fill_weight_scales(inference, scope)
            slim.finish(
                inference, {name: ranges[name] for name in outputs if name in ranges}, options, scope, context.out
            )


class _RangesOnly(PostTrainingQuantization):
    """Paddle's sampling and thresholds; writing the graph is left to ``slim``."""

    def _update_program(self) -> None:
        """Nothing: the program stays as it is."""

    def _save_output_threshold(self) -> None:
        """Nothing."""

    def thresholds(self) -> dict[str, float]:
        """Variable -> range (the absolute value that the largest integer stands for)."""
        found = self._quantized_var_threshold if self._algo in ("KL", "hist") else self._quantized_threshold
        weights = self._quantized_weight_var_name
        return {name: float(np.max(value)) for name, value in found.items() if name not in weights}


def _ranges(
    folder: Path, model: ExportedModel, images: UnlabeledImages, options: DistillOptions, context: StageContext
) -> dict[str, float]:
    count = min(options.calibration_images, len(images))

    def batches() -> Iterator[dict[str, Any]]:
        for index in range(count):
            image, scale = images.load([index])
            feeds: dict[str, Any] = {model.image_input: image}
            if model.scale_factor:
                feeds[model.scale_input] = scale
            context.progress(index + 1, count)
            yield feeds

    with paddle.static.scope_guard(paddle.static.Scope()):
        sampler = _RangesOnly(
            executor=paddle.static.Executor(paddle.CPUPlace()),
            scope=paddle.static.global_scope(),
            model_dir=str(folder),
            model_filename="model.pdmodel",
            params_filename="model.pdiparams",
            data_loader=paddle.io.DataLoader([0]),  # the constructor insists on one; ours takes its place below
            batch_nums=count,
            algo=options.ptq_algo,
            quantizable_op_type=list(options.quantize_op_types),
            weight_quantize_type=options.weight_quantize_type,
            onnx_format=True,
        )
        sampler._data_loader = batches
        sampler.quantize()
        return sampler.thresholds()
