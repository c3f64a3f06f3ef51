"""Export to Paddle's inference form and ONNX (`conf/export`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.model import ModelOptions
from stages.options.rules import POSITIVE, above, at_least, option, part


@dataclass
class ExportSettings:
    """Freezing the model and converting it to ONNX."""

    batch: int = option(1, POSITIVE, "batch size of the exported model and of the engines")
    opset: int = option(13, at_least(13), "ONNX operator set")
    agreement_images: int = option(4, POSITIVE, "images on which the outputs of ONNX and Paddle are compared")
    max_difference: float = option(
        1e-3, above(0), "largest accepted relative difference of ONNX's outputs from Paddle's (FP32)"
    )


@dataclass
class ExportOptions(ExportSettings):
    """Options of stage ``export``."""

    model: ModelOptions = part(ModelOptions, "model")
    precision: str = option("fp32", doc="`fp32` or `int8`")
