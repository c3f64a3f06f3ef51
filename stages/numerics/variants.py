"""The variants of an engine: number format of the weights, format of what stays float, and how it is opened.

A variant has a name, which stands in ids, keys, tables and commands: ``fp32``, ``bf16``, ``fp16``, ``int8``,
``int8_bf16``, ``int8_fp16``, and with ``_pm`` (page-locked host buffers) or ``_pm_graph`` (launched as one CUDA graph,
which needs such buffers) behind it how it is opened. What differs in that alone shares an engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache


class Precision(str, Enum):
    """Number format of a model's weights (what an engine really computes in is the audit's to say)."""

    FP32 = "fp32"
    INT8 = "int8"

    def __str__(self) -> str:
        return self.value


class FloatFormat(str, Enum):
    """Number format of what an engine does not compute in INT8."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Variant:
    """One way to build and open an engine of a model.

    Attributes:
        weights: of which exported model it is built.
        floats: what computes in INT8 in no case computes in this.
        pinned: opened with page-locked host buffers.
        cuda_graph: copies and run launched as one CUDA graph; needs ``pinned``.
    """

    weights: Precision
    floats: FloatFormat = FloatFormat.FP32
    pinned: bool = False
    cuda_graph: bool = False

    def __post_init__(self) -> None:
        if self.cuda_graph and not self.pinned:
            raise ValueError("a CUDA graph needs page-locked buffers: set pinned too")

    def __str__(self) -> str:
        """Its name."""
        return "_".join([*self._formats(), *self._openings()])

    @property
    def title(self) -> str:
        """As tables call it: ``INT8 + FP16 + PM``."""
        return " + ".join([*(part.upper() for part in self._formats()), *(_TITLES[part] for part in self._openings())])

    @property
    def engine(self) -> Variant:
        """What is built for it: the variant without how it is opened."""
        return replace(self, pinned=False, cuda_graph=False)

    @property
    def is_float(self) -> bool:
        """Whether nothing of it was quantized."""
        return self.weights is Precision.FP32

    def _formats(self) -> list[str]:
        weights, floats = self.weights.value, self.floats.value
        if self.is_float:
            return [floats]
        return [weights] if self.floats is FloatFormat.FP32 else [weights, floats]

    def _openings(self) -> list[str]:
        return [name for name, on in (("pm", self.pinned), ("graph", self.cuda_graph)) if on]


_TITLES = {"pm": "PM", "graph": "graph"}

VARIANTS: dict[str, Variant] = {
    str(variant): variant
    for weights in Precision
    for floats in FloatFormat
    for opened in ({}, {"pinned": True}, {"pinned": True, "cuda_graph": True})
    for variant in [Variant(weights, floats, **opened)]
}
"""Every variant by its name."""
BUILT = [name for name, variant in VARIANTS.items() if variant == variant.engine]
"""The names of those with an engine of their own."""
FP32, INT8 = VARIANTS["fp32"], VARIANTS["int8"]
SEED = ("fp32", "int8", "int8_fp16", "int8_fp16_pm")
"""The columns of the table that every run fills, or says why not."""


@cache
def variant(name: str) -> Variant:
    """The variant called ``name`` (a `Precision` is a name too). Raises ValueError if there is none."""
    found = VARIANTS.get(str(name))
    if found is None:
        raise ValueError(f"there is no variant {name!r} (there are {', '.join(VARIANTS)})")
    return found


def title_of(name: str) -> str:
    """A variant's title; another name (``champion``) as it is."""
    return VARIANTS[name].title if name in VARIANTS else name


def is_float(name: str) -> bool:
    """Whether the variant of this name has nothing quantized; no for another name."""
    return name in VARIANTS and VARIANTS[name].is_float


def judged(names: Sequence[str]) -> list[str]:
    """Of engines those that gates judge: the quantized ones; else those that are not FP32, else all.

    Names without a format are engines too.
    """
    reduced = [name for name in names if name != str(FP32)]
    return [name for name in reduced if not is_float(name)] or reduced or list(names)


def engine_of(name: str) -> str:
    """The name of what is built for the variant ``name``; another name as it is."""
    return str(VARIANTS[name].engine) if name in VARIANTS else name
