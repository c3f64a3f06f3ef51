"""The graph passes of TensorRT's INT8 engines, in order."""

from __future__ import annotations

from stages.backends.recipes import FLOAT_OUTPUTS

RECIPE = (*FLOAT_OUTPUTS, "free_silu", "fold_bias")
