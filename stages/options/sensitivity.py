"""What single blocks lose in INT8, and which of them stay in float (`conf/sensitivity`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.options.accuracy import NmsOptions
from stages.options.compression import CompressionSettings
from stages.options.export import ExportSettings
from stages.options.rules import POSITIVE, like, one_of, option, part


@dataclass
class SensitivitySettings:
    """Which blocks lose accuracy in INT8 (`detpress sensitivity`, `compression.max_map_drop`)."""

    backend: str | None = option(
        None, doc="whose engines are measured; null: `onnxruntime` if it is among the run's backends, else the first"
    )
    labels: str = option(
        "auto",
        one_of("auto", "train", "val", "none"),
        "labelled images that blocks are judged on: `train`, `val`, `none` (distance of the outputs on unlabeled "
        "images), or `auto`: the first of these that there is; the final score uses those of `val`",
    )
    images: int = option(48, POSITIVE, "images that the blocks are ranked on")
    verdict_images: int | None = option(
        None,
        POSITIVE,
        "labelled images that decide whether `compression.max_map_drop` holds; null: all of `val`, or as many of "
        "`train` as `val` has",
    )


@dataclass
class SensitivityOptions:
    """Options of stage ``sensitivity``."""

    backend: str = option("onnxruntime", doc="whose engines are measured")
    options: dict[str, Any] = option({}, doc="the backend's options")
    labels: str = option(
        "val", one_of("train", "val"), "where the labelled images come from, if there are any: `train` or `val`"
    )
    images: int = like(SensitivitySettings, "images")
    nms: NmsOptions = part(NmsOptions, "accuracy.nms")
    opset: int = like(ExportSettings, "opset")


@dataclass
class FloatBlocksOptions(SensitivityOptions):
    """Options of stage ``float_blocks``."""

    max_map_drop: float = like(CompressionSettings, "max_map_drop", default=0.5)
    min_speedup: float = like(CompressionSettings, "min_speedup")
    verdict_images: int | None = like(SensitivitySettings, "verdict_images")
