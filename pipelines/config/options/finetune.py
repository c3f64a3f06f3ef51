"""Training of the FP32 detector before a compression (`conf/finetune`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.finetune import FinetuneSettings
from stages.options.rules import option


@dataclass
class FinetuneConfig(FinetuneSettings):
    """Training of the FP32 detector before it is compressed."""

    enabled: bool = option(
        False,
        doc="train on the labelled images first, from `model.weights` if they are given, else from random weights",
    )
