"""Learning rates by the step. No Paddle."""

from __future__ import annotations

import math

from stages.options.compression import CompressionSettings


def falling(step: int, length: float) -> float:
    """Half a cosine, from 1 at step 0 to 0 after ``length`` steps."""
    return (1 + math.cos(math.pi * step / length)) / 2


def by_options(step: int, o: CompressionSettings) -> float:
    """The rate of step ``step`` (from 0): linear warm-up, then ``lr_schedule``."""
    rate: float = o.lr
    if step < o.warmup_steps:
        return rate * (step + 1) / o.warmup_steps
    if o.lr_schedule == "constant":
        return rate
    return rate * falling(step - o.warmup_steps, max(1, o.cosine_length * o.steps - o.warmup_steps))
