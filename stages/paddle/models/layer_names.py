"""What the layers of a detector are called in PaddleDetection, by the names of their weights in a program.

A program knows a convolution's weights as ``conv2d_43.w_0``; its author knows the layer as
``neck.fpn_stages.0.0.convs.0.conv1.conv``. Folding, quantizing and converting keep the first name, so it leads to the
second in whatever form the model is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import paddle

from stages.detection.published import AS_THEY_ARE, choice, of_export
from stages.errors import WeightsError
from stages.options.model import ModelOptions
from stages.paddle.models.models import TRAINING_ONLY, build_detector, merge_branches
from stages.paddle.runtime.program import Program

WEIGHT_OPS = {"conv2d": "Filter", "depthwise_conv2d": "Filter", "conv2d_transpose": "Filter", "matmul_v2": "Y"}
"""Operators that have weights -> the slot they stand in."""


def of_layer(layer: Any) -> dict[str, str]:
    """Weight's name -> layer's name, for the layers of a ``paddle.nn.Layer`` as it is (branches merged, or not)."""
    return {p.name: name.removesuffix(".weight") for name, p in layer.named_parameters() if len(p.shape) == 4}


def of_program(program: Program, model: ModelOptions, file: Path) -> dict[str, str]:
    """The same for a program that somebody else exported: its layers in order of their numbers, as PaddleDetection
    numbers them, against those of ``model.architecture``, with their branches merged or not. Empty without one.

    Raises:
        WeightsError: number or shapes of the layers do not agree, so it is another model.
    """
    if not model.architecture:
        return {}
    theirs = {name: program.shape(name) for name in _weights(program)}
    paddle.disable_static()
    try:
        layer = build_detector(model, len(model.labels or ()), exclude_nms=True, eval_size=list(model.input_size))
        layer.eval()
        forms = [_shapes_and_names(layer)]
        merge_branches(layer)
        forms.append(_shapes_and_names(layer))
    finally:
        paddle.enable_static()
    for ours, names in forms:
        pairs = list(zip(sorted(theirs, key=_number), sorted(ours, key=_number), strict=False))
        if len(theirs) == len(ours) and all(theirs[a] == ours[b] for a, b in pairs):
            return {a: names[b] for a, b in pairs}
    raise WeightsError(_mismatch(theirs, forms[-1][0], model, file))


def _shapes_and_names(layer: Any) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Of the weights that an export has: shape, and name of the layer."""
    names = {w: name for w, name in of_layer(layer).items() if not name.startswith(TRAINING_ONLY)}
    return {p.name: list(p.shape) for p in layer.parameters() if p.name in names}, names


def _mismatch(theirs: dict[str, list[int]], ours: dict[str, list[int]], model: ModelOptions, file: Path) -> str:
    stems = [min(shapes.items(), key=lambda item: _number(item[0]))[1][0] if shapes else 0 for shapes in (theirs, ours)]
    plus = [list(v) for v in (model.mean, model.std)] == [list(v) for v in AS_THEY_ARE]
    fit = [name for name in of_export(stems[0], len(theirs), plus) if name != model.name]
    hint = (
        f"choose {choice(fit)}"
        if fit
        else "choose the model that it was exported from (model=...), or run it without the names of its layers "
        "('~model')"
    )
    return (
        f"{file} is not a graph of model={model.name}: it has {len(theirs)} convolutions, of which the first gives "
        f"{stems[0]} channels, {model.name} has {len(ours)} and {stems[1]}; {hint}"
    )


def _weights(program: Program) -> list[str]:
    found = [op.input(WEIGHT_OPS[op.type])[0] for op in program.ops() if op.type in WEIGHT_OPS]
    return [name for name in dict.fromkeys(found) if len(program.shape(name)) == 4]


def _number(name: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", name))
