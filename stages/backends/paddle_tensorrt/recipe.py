"""Passes of `stages/paddle/inference/lowering.py` that a program gets before Paddle hands parts of it to TensorRT."""

from __future__ import annotations

from stages.artifacts import Precision

RECIPES = {Precision.FP32: ("fold_bias",), Precision.INT8: ("fold_bias", "float_tail")}
