"""Distances between student and teacher at the distilled nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import paddle
from paddleslim.dist import l2, soft_label

from stages.options import CompressionSettings

TEACHER = "teacher_"

LOSSES: dict[str, Callable[..., Any]] = {"soft_label": soft_label, "l2": l2}


def distill_loss(program: Any, nodes: Sequence[str], options: CompressionSettings) -> Any:
    """``alpha`` times the sum over the nodes of the chosen loss (PaddleSlim's), a scalar variable."""
    measure = LOSSES[options.loss]
    total = sum(measure(TEACHER + node, node, program) for node in nodes)
    return paddle.mean(total * options.alpha)
