"""Training of the FP32 detector before a compression (`conf/finetune`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.finetune import FinetuneSettings


@dataclass
class FinetuneConfig(FinetuneSettings):
    """Training of the FP32 detector before it is compressed."""

    enabled: bool = False
    """Train (from ``model.weights`` if given, else from random weights) on the labelled images first."""
