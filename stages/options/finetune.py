"""Training of the FP32 detector (`conf/finetune`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from stages.options.model import ModelOptions


@dataclass
class FinetuneSettings:
    """Training of the FP32 detector: the part the user sets (``finetune`` in the config)."""

    steps: int = 500
    batch: int = 8
    lr: float = 0.002
    warmup_steps: int = 100
    weight_decay: float = 0.0005
    static_steps: int = 50
    """Steps in which a fresh head gets its labels by geometry (ATSS) rather than by its own predictions (TAL)."""
    ema_decay: float = 0.998
    flip: float = 0.5
    color_jitter: float = 0.4
    crop: float = 0.5
    """Probability of each augmentation."""
    checkpoint_every: int = 100
    log_every: int = 10


@dataclass
class FinetuneOptions(FinetuneSettings):
    """Options of stage ``finetune``."""

    model: ModelOptions = field(default_factory=ModelOptions)
