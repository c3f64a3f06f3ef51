"""Options of Paddle Inference (`conf/backend/paddle_inference.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.backend import BackendOptions


@dataclass
class PaddleInferenceOptions(BackendOptions):
    """Paddle Inference without TensorRT."""

    device: str = "cpu"
    """``cpu`` (oneDNN) or ``cuda`` (FP32 only)."""
    passes: list[str] | None = None
    """Names of the passes of ``stages/paddle/inference/lowering.py``; ``None``: the recipe of the precision."""
