"""The detector: an architecture and where its weights come from (`conf/model`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ModelOptions:
    """An architecture and where its weights come from (``conf/model``)."""

    name: str = ""
    """Short name, e.g. ``ppyoloe_l``."""
    architecture: dict[str, Any] = field(default_factory=dict)
    """PaddleDetection's registry entries: ``{"architecture": "YOLOv3", "YOLOv3": {...}, "CSPResNet": {...}, ...}``."""
    parameters: int = 0
    """Parameters with 80 classes, as published by PaddleDetection (0: not published)."""
    input_size: list[int] = field(default_factory=lambda: [640, 640])
    """Height, width of the network input."""
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    interpolation: str = "cubic"
    """How images are resized: ``nearest``, ``linear``, ``cubic`` or ``area`` (aspect ratio is not kept)."""
    weights: str | None = None
    """A ``.pdparams`` file: path or URL."""
    weights_sha256: str | None = None
    """Expected digest of a downloaded file; a mismatch is an error."""
    inference_dir: str | None = None
    """A folder with an exported ``model.pdmodel`` + ``model.pdiparams``, in place of ``weights``."""
    random_weights: bool = False
    """Run with untrained weights (for speed measurements; accuracy is then meaningless)."""
    labels: list[str] | None = None
    """Class names in the model's order; ``None``: those that the export states, else the categories in the order of the
    training labels' file (else the validation labels')."""
