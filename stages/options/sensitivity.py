"""What single blocks lose in INT8, and which of them stay in float (`conf/sensitivity`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stages.options.accuracy import NmsOptions


@dataclass
class SensitivitySettings:
    """What each block costs when it is quantized: the part the user sets (``sensitivity`` in the config)."""

    backend: str | None = None
    """Whose engines are measured; ``None``: ``onnxruntime`` if it is among the run's backends, else the first."""
    labels: str = "auto"
    """Labelled images that blocks are judged on: ``train``, ``val``, ``none`` (distance of the outputs on unlabeled
    images), or ``auto``: the first of these that there is. The final score uses those of ``val``."""
    images: int = 48
    """Images that the blocks are ranked on."""
    verdict_images: int | None = None
    """Labelled images that decide whether ``compression.max_map_drop`` holds; ``None``: all of ``val``, and of
    ``train`` as many as ``val`` has."""


@dataclass
class SensitivityOptions:
    """Options of stage ``sensitivity``."""

    backend: str = "onnxruntime"
    options: dict[str, Any] = field(default_factory=dict)
    """The backend's."""
    labels: str = "val"
    """Where the labelled images come from, if there are any: ``train`` or ``val``."""
    images: int = 48
    nms: NmsOptions = field(default_factory=lambda: NmsOptions())
    opset: int = 13


@dataclass
class FloatBlocksOptions(SensitivityOptions):
    """Options of stage ``float_blocks``."""

    max_map_drop: float = 0.5
    min_speedup: float = 1.0
    verdict_images: int | None = None
