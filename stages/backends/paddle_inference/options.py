"""Options of Paddle Inference (`conf/backend/paddle_inference.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.backend import BackendOptions
from stages.options.rules import one_of, option, some_of

PASSES = ("fold_bias", "mean_to_pool", "float_tail")
"""Those of `stages/paddle/inference/lowering.py`, which is not imported to check an option."""

KNOWN_PASSES = some_of(lambda: PASSES, "pass")
PASSES_DOC = "names of the passes applied to Paddle's program, in order; null: the recipe of the precision"


@dataclass
class PaddleInferenceOptions(BackendOptions):
    """Paddle Inference without TensorRT."""

    device: str = option(
        "cpu", one_of("cpu", "cuda"), "`cpu` (oneDNN), or `cuda` (FP32 only; INT8 on a GPU is `paddle_tensorrt`)"
    )
    passes: list[str] | None = option(None, KNOWN_PASSES, PASSES_DOC)
