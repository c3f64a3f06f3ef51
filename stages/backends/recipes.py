"""What the recipes of all backends that read ONNX begin with: names of passes, see `stages/lowering/passes.py`.

A backend's own recipe is `recipe.py` in its folder, for its INT8 engines. These modules hold names only and load
nothing.
"""

from __future__ import annotations

# The tail first: what it frees need not be reported as unobserved, nor have its weights folded.
COMMON = (
    "lift_zero_scales",
    "float_tail",
    "drop_unobserved",
    "fold_weights",
    "drop_multiply_by_one",
    "drop_duplicate_qdq",
)

FLOAT_OUTPUTS = (*COMMON, "float_outputs")
"""Where integer convolutions can put out floats."""

PORTABLE = (
    *COMMON,
    "mean_to_pool",
    "activations_to_uint8",
    "share_quantized",
    "quantize_concat",
    "keep_quantized",
    "quantize_sigmoid",
    "unsigned_relu",
    "softmax_last",
    "pad_image_channels",
)
"""An INT8 graph that ONNX Runtime and OpenVINO both run right, with and without AMX: what a bundle has beside an engine
that is no ONNX file. Of the graph as it was exported ONNX Runtime convolves little in INT8, and OpenVINO finds other
boxes (docs/decisions/0003-lowering.md)."""
