"""Blocks of a detector: groups of layers that one would keep in float, or quantize, together.

They have the names that PaddleDetection's modules have. A stage of the backbone is its residual blocks
(``backbone.stages.2.blocks.0``) and what stands around them (``backbone.stages.2.csp``: the strided convolution, the
1x1 convolutions of the cross-stage connection and the attention). In the neck a block is a stage or a route
(``neck.fpn_stages.1``, ``neck.pan_routes.0``), in the head a branch of one level (``head.pred_cls.0``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_RULES: tuple[tuple[str, str], ...] = (
    (r"backbone\.stages\.\d+\.blocks\.\d+", r"\g<0>"),
    (r"(backbone\.stages\.\d+)\..*", r"\1.csp"),
    (r"yolo_head\.(\w+\.\d+)", r"head.\1"),
    (r"\w+\.[a-z_]+\.\d+", r"\g<0>"),
    (r"\w+\.\w+", r"\g<0>"),
)
"""Pattern at the start of a layer's name -> the block's name; the first that fits holds."""


def block_of(layer: str) -> str:
    """The block that a layer belongs to, by PaddleDetection's name of the layer."""
    for pattern, name in _RULES:
        if found := re.match(pattern, layer):
            return found.expand(name)
    return layer


def group(names: Mapping[str, str], weights: Iterable[str]) -> dict[str, list[str]]:
    """Block -> names of its layers' weights, both in the order of ``weights``.

    Args:
        names: name of the weights -> PaddleDetection's name of the layer. A layer that is not among them is a block of
            its own, called as its weights are.
        weights: of the quantized layers.
    """
    found: dict[str, list[str]] = {}
    for weight in weights:
        layer = names.get(weight)
        found.setdefault(weight if layer is None else block_of(layer), []).append(weight)
    return found
