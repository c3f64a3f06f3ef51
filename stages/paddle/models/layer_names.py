"""What the layers of a detector are called in PaddleDetection, by the names of their weights in a program.

A program knows a convolution's weights as ``conv2d_43.w_0``; its author knows the layer as
``neck.fpn_stages.0.0.convs.0.conv1.conv``. Folding, quantizing and converting keep the first name, so it leads to the
second in whatever form the model is.
"""

from __future__ import annotations

import re
from typing import Any

import paddle

from stages.options.model import ModelOptions
from stages.paddle.models.models import build_detector, merge_branches
from stages.paddle.runtime.program import Program

WEIGHT_OPS = {"conv2d": "Filter", "depthwise_conv2d": "Filter", "conv2d_transpose": "Filter", "matmul_v2": "Y"}
"""Operators that have weights -> the slot they stand in."""


def of_layer(layer: Any) -> dict[str, str]:
    """Weight's name -> layer's name, for the layers of a ``paddle.nn.Layer`` as it is (branches merged, or not)."""
    return {p.name: name.removesuffix(".weight") for name, p in layer.named_parameters() if len(p.shape) == 4}


def of_program(program: Program, model: ModelOptions) -> dict[str, str]:
    """The same for a program that somebody else exported: its layers in order of their numbers, as PaddleDetection
    numbers them, against those of ``model.architecture``. Empty where numbers or shapes do not agree.
    """
    if not model.architecture:
        return {}
    theirs = {name: program.shape(name) for name in _weights(program)}
    paddle.disable_static()
    try:
        layer = build_detector(model, len(model.labels or ()), exclude_nms=True, eval_size=list(model.input_size))
        layer.eval()
        merge_branches(layer)
        ours = {p.name: list(p.shape) for p in layer.parameters() if len(p.shape) == 4}
        names = of_layer(layer)
    finally:
        paddle.enable_static()
    pairs = list(zip(sorted(theirs, key=_number), sorted(ours, key=_number), strict=False))
    if len(theirs) != len(ours) or any(theirs[a] != ours[b] for a, b in pairs):
        return {}
    return {a: names[b] for a, b in pairs}


def _weights(program: Program) -> list[str]:
    found = [op.input(WEIGHT_OPS[op.type])[0] for op in program.ops() if op.type in WEIGHT_OPS]
    return [name for name in dict.fromkeys(found) if len(program.shape(name)) == 4]


def _number(name: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", name))
