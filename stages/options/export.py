"""Export to Paddle's inference form and ONNX (`conf/export`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.accuracy import NmsOptions
from stages.options.model import ModelOptions
from stages.options.rules import POSITIVE, above, at_least, one_of, option, part

OUTSIDE, GRAPH = "outside", "graph"
"""Where NMS and the normalisation of pixels run: before and behind the engine, or in it."""
NMS_OUTPUTS = ("num_dets", "boxes", "scores", "labels")
"""What an engine with NMS in it gives (``stages/lowering/inside.py``)."""


@dataclass(frozen=True)
class Inside:
    """What an engine does itself (``stages/lowering/inside.py``): NMS, with these thresholds; normalising pixels."""

    nms: NmsOptions | None = option(None, doc="NMS with these thresholds; null: outside of the engine")
    preprocess: bool = option(False, doc="normalise pixels: the engine takes uint8 images")


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
class ExportConfig(ExportSettings):
    """The section ``export``: freezing and converting, and what the engines that are built of it do themselves."""

    nms: str = option(
        OUTSIDE,
        one_of(OUTSIDE, GRAPH),
        "where NMS runs: `outside` of the engine, or in its `graph`, with the thresholds of `accuracy.nms` and the "
        "outputs `num_dets`, `boxes`, `scores`, `labels` (docs/deploy.md)",
    )
    preprocess: str = option(
        OUTSIDE,
        one_of(OUTSIDE, GRAPH),
        "where pixels are normalised: `outside` of the engine, or in its `graph`, which then takes uint8 images "
        "[height, width, 3], RGB, of its input size",
    )


@dataclass
class ExportOptions(ExportSettings):
    """Options of stage ``export``."""

    model: ModelOptions = part(ModelOptions, "model")
    precision: str = option("fp32", doc="`fp32` or `int8`")
