"""The graph passes of ONNX Runtime's INT8 engines on the CPU and in CUDA, in order."""

from __future__ import annotations

from stages.backends.recipes import COMMON

RECIPE = (
    *COMMON,
    "mean_to_pool",
    "activations_to_uint8",
    "share_quantized",
    "quantize_concat",
    "keep_quantized",
    "quantize_sigmoid",
    "softmax_last",
    "pad_image_channels",
)
