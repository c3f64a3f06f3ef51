"""Export to Paddle's inference form and ONNX (`conf/export`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from stages.options.model import ModelOptions


@dataclass
class ExportSettings:
    """Freezing and ONNX conversion: the part the user sets (``export`` in the config)."""

    batch: int = 1
    opset: int = 13
    agreement_images: int = 4
    max_difference: float = 1e-3
    """Largest relative difference of ONNX to Paddle outputs that is accepted (FP32)."""


@dataclass
class ExportOptions(ExportSettings):
    """Options of stage ``export``."""

    model: ModelOptions = field(default_factory=ModelOptions)
    precision: str = "fp32"
