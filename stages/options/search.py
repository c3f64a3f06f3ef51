"""Options of the stage that looks for the cheapest compression (`compression=auto`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.options.compression import DistillOptions
from stages.options.export import ExportSettings
from stages.options.rules import like, option
from stages.options.sensitivity import SensitivitySettings

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass
class SearchOptions(DistillOptions):
    """Options of stage ``search``: those of the distillations it may try, and whose engines it judges."""

    backend: str = option("onnxruntime", doc="whose engines are judged")
    options: dict[str, Any] = option({}, doc="the backend's options")
    ranked_images: int = like(SensitivitySettings, "images")
    opset: int = like(ExportSettings, "opset")


def budget_seconds(text: str) -> float:
    """Seconds of a `compression.time_budget` that fits its rule: ``"90s"``, ``"2h"``."""
    return float(text[:-1]) * SECONDS[text[-1]]
