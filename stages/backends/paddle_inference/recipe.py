"""Passes of `stages/paddle/inference/lowering.py` that Paddle's engines get, in order."""

from __future__ import annotations

from stages.artifacts import Precision

RECIPES = {
    Precision.FP32: ("fold_bias", "mean_to_pool"),
    Precision.INT8: ("fold_bias", "mean_to_pool", "float_tail"),
}
