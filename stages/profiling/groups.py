"""What the layers of an engine are: convolutions, activations, layout and so on, whatever a runtime calls them.

A layer that serves only one of boxes and scores belongs to the *head*, and what no convolution follows to the *tail*,
which decodes boxes and scores and holds NMS where the engine does that. All others go by what they do. An activation
that a runtime has fused into a convolution is no layer, and counts with it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from stages.backends.profiled import Profiled, ProfiledLayer

CONVOLUTIONS, ACTIVATIONS, ELEMENTWISE = "convolutions", "activations", "elementwise"
JOINS, LAYOUT, QUANTIZE, HEAD, TAIL, OTHER = "joins", "layout", "quantize", "head", "tail", "other"
GROUPS = (CONVOLUTIONS, ACTIVATIONS, ELEMENTWISE, JOINS, LAYOUT, QUANTIZE, HEAD, TAIL, OTHER)
"""In the order in which they are shown."""

_WORDS: dict[str, tuple[str, ...]] = {
    CONVOLUTIONS: ("conv(?!ert)", "gemm", "matmul", "fullyconnected"),
    QUANTIZE: ("quantiz",),
    JOINS: ("concat", "split", "resize", "interpolate", "upsample", "slice", "gather", "tile", "expand", "pad"),
    LAYOUT: ("reorder", "transpose", "permute", "reshape", "squeeze", "flatten", "reformat", "convert", "cast", "copy",
             "memcpy", "shuffle", "noop", "spacetodepth", "depthtospace"),
    ACTIVATIONS: ("sigmoid", "relu", "gelu", "silu", "swish", "mish", "tanh", "clip", "softmax", "hsig",
                  "activation", "pointwise"),
    ELEMENTWISE: ("pool", "reduce", "mean", "add", "sum", "mul", "sub", "div", "eltwise", "elementwise", "max", "min",
                  "subgraph", "math"),
}  # fmt: skip
"""Group -> patterns, one of which is in its layers' kinds. The first that fits counts: ``Softmax`` holds ``max``."""
_NMS = ("nonmaxsuppression", "nms")


def groups_of(profiled: Profiled) -> list[str]:
    """The group of each layer, in their order."""
    layers = profiled.layers
    kinds = [_by_kind(layer) for layer in layers]
    makers = {name: number for number, layer in enumerate(layers) for name in layer.makes}
    for number, layer in enumerate(layers):
        # x * sigmoid(x) in two layers is one activation; so is a gate of an attention.
        if "mul" in layer.kind.lower() and kinds[number] == ELEMENTWISE:
            sources = [layers[makers[name]].kind.lower() for name in layer.reads if name in makers]
            if any("sigmoid" in kind for kind in sources):
                kinds[number] = ACTIVATIONS
    tail = _tail(layers, kinds, makers)
    head = _head(layers, profiled.ends, makers) - tail
    return [TAIL if n in tail else HEAD if n in head else kind for n, kind in enumerate(kinds)]


def _by_kind(layer: ProfiledLayer) -> str:
    kind = layer.kind.lower()
    if layer.multiply_adds is not None:
        return CONVOLUTIONS
    return next((group for group, words in _WORDS.items() if re.search("|".join(words), kind)), OTHER)


def _tail(layers: Sequence[ProfiledLayer], kinds: Sequence[str], makers: dict[str, int]) -> set[int]:
    """What comes before no convolution. One directly behind a Softmax sums a distribution over box edges, and is tail
    too; nothing is where there is no convolution at all."""
    weighted = {n for n, kind in enumerate(kinds) if kind == CONVOLUTIONS}
    decoding = {n for n in weighted if _behind_softmax(n, layers, weighted, makers)}
    weighted -= decoding
    if not weighted:
        return set()
    feeding = _before((name for n in weighted for name in layers[n].reads), layers, makers)
    return set(range(len(layers))) - weighted - feeding


def _behind_softmax(number: int, layers: Sequence[ProfiledLayer], weighted: set[int], makers: dict[str, int]) -> bool:
    """Whether a Softmax comes before any other layer with weights, going back."""
    waiting, seen = list(layers[number].reads), set[int]()
    while waiting:
        maker = makers.get(waiting.pop())
        if maker is None or maker in seen or maker in weighted:
            continue
        if "softmax" in layers[maker].kind.lower():
            return True
        seen.add(maker)
        waiting += layers[maker].reads
    return False


def _head(layers: Sequence[ProfiledLayer], ends: Sequence[str], makers: dict[str, int]) -> set[int]:
    """What comes before exactly one of boxes and scores; with NMS in the engine those are what it reads."""
    suppressing = [layer for layer in layers if any(word in layer.kind.lower() for word in _NMS)]
    ends = list(suppressing[0].reads[:2]) if suppressing else list(ends)
    if len(ends) != 2:
        return set()
    serves: dict[int, int] = defaultdict(int)
    for end in ends:
        for number in _before([end], layers, makers):
            serves[number] += 1
    return {number for number, count in serves.items() if count == 1}


def _before(tensors: Iterable[str], layers: Sequence[ProfiledLayer], makers: dict[str, int]) -> set[int]:
    """The layers that any of the tensors come from."""
    waiting, seen = list(tensors), set[int]()
    while waiting:
        maker = makers.get(waiting.pop())
        if maker is not None and maker not in seen:
            seen.add(maker)
            waiting += layers[maker].reads
    return seen
