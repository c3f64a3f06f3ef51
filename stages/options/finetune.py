"""Training of the FP32 detector (`conf/finetune`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.model import ModelOptions
from stages.options.rules import COUNT, POSITIVE, SHARE, above, from_to_below, one_of, option, part

AUTO, ONEDNN, PADDLE = "auto", "onednn", "paddle"
"""Whose convolutions a training on a CPU runs on."""


@dataclass
class FinetuneSettings:
    """Training of the FP32 detector: the part the user sets (``finetune`` in the config)."""

    steps: int = option(500, POSITIVE, "training steps")
    batch: int = option(8, POSITIVE, "images of a step")
    lr: float = option(0.002, above(0), "highest learning rate")
    warmup_steps: int = option(100, COUNT, "steps in which the learning rate rises to `lr`")
    weight_decay: float = option(0.0005, COUNT, "weight decay (L2)")
    static_steps: int | None = option(
        50,
        COUNT,
        "steps in which a fresh head gets its labels by geometry (ATSS) rather than by its own predictions (TAL); "
        "null: as the model's `static_assigner_epoch` says, in passes over the training images (-1: none)",
    )
    ema_decay: float = option(0.998, from_to_below(0, 1), "decay of the moving average of the weights, which is kept")
    amp: bool = option(
        False,
        doc="mixed precision on a GPU: FP16 where it is safe, about half the memory; no effect on the CPU (said aloud)",
    )
    kernels: str = option(
        AUTO,
        one_of(AUTO, ONEDNN, PADDLE),
        "whose convolutions train on a CPU: `onednn` (1.4 to 1.5 times as fast, 2.5 times the memory; refused where it "
        "cannot, or has no room), `paddle` (Paddle's own), or `auto`: oneDNN's where they run and the memory that is "
        "available suffices, else Paddle's, said aloud. Results agree within rounding",
    )
    flip: float = option(0.5, SHARE, "probability of a horizontal flip")
    color_jitter: float = option(0.4, SHARE, "probability of a change of colours")
    crop: float = option(0.5, SHARE, "probability of a random crop")
    checkpoint_every: int = option(
        100, POSITIVE, "steps between two checkpoints; an interrupted run loses no more than this"
    )
    log_every: int = option(10, POSITIVE, "steps between two points of the loss curve")


@dataclass
class FinetuneOptions(FinetuneSettings):
    """Options of stage ``finetune``."""

    model: ModelOptions = part(ModelOptions, "model")
