"""The passes by name, and the function that runs some of them in order; which ones is the backend's to say."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx

from stages.errors import ConfigError
from stages.lowering.activations import activations_to_uint8
from stages.lowering.cleanup import drop_duplicate_qdq, drop_multiply_by_one, mean_to_pool
from stages.lowering.fine import fine_outputs
from stages.lowering.graph import PassReport
from stages.lowering.half import to_half
from stages.lowering.layout import fold_image, pad_image_channels, projection_to_sum, softmax_last
from stages.lowering.placement import drop_unobserved, float_outputs, float_tail, free_silu, quantize_sigmoid
from stages.lowering.propagation import keep_quantized, quantize_concat, share_quantized
from stages.lowering.unsigned import unsigned_relu
from stages.lowering.weights import fold_bias, fold_weights, lift_zero_scales

Pass = Callable[[onnx.ModelProto], tuple[onnx.ModelProto, PassReport]]

PASSES: dict[str, Pass] = {
    p.__name__: p
    for p in (
        lift_zero_scales,
        float_tail,
        float_outputs,
        drop_unobserved,
        fold_weights,
        fold_bias,
        drop_multiply_by_one,
        drop_duplicate_qdq,
        free_silu,
        mean_to_pool,
        activations_to_uint8,
        share_quantized,
        quantize_concat,
        keep_quantized,
        quantize_sigmoid,
        unsigned_relu,
        softmax_last,
        projection_to_sum,
        fine_outputs,
        pad_image_channels,
        fold_image,
        to_half,
    )
}


def lower(
    model: onnx.ModelProto, passes: Sequence[str], magnitudes: Mapping[str, float] | None = None
) -> tuple[onnx.ModelProto, list[dict[str, Any]]]:
    """Run the named passes in order; give the lowered model and each pass's report as plain data.

    Args:
        magnitudes: for `to_half`.

    Raises:
        ConfigError: a name that is not a pass.
        StageError: the graph is not what a pass can work on.
    """
    unknown = [name for name in passes if name not in PASSES]
    if unknown:
        raise ConfigError([f"lowering pass {name!r} is not known; there are {', '.join(PASSES)}" for name in unknown])
    known: dict[str, Pass] = {**PASSES, to_half.__name__: functools.partial(to_half, magnitudes=magnitudes)}
    reports = []
    for name in passes:
        model, report = known[name](model)
        reports.append(dataclasses.asdict(report))
    return model, reports
