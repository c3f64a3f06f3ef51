"""What a backend tells of where the time of an engine goes: each layer as its runtime ran it, with what it took.

`stages/profiling` says what the layers are and how far they are from the machine's peak. Nothing of this runs while an
engine is timed: a profiler costs time itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

from stages.artifacts import Engine
from stages.backends.base import Backend, Session


@dataclass(frozen=True)
class ProfiledLayer:
    """One layer of an engine.

    Attributes:
        name, kind: in the runtime's words.
        ms: milliseconds of each run, from the first on, those that warm up among them.
        reads, makes: names of the tensors between the layers, by which one finds out what follows what.
        number_format: that it multiplies in (``int8``, ``fp32``, ...); ``None`` of a layer that has no weights.
        multiply_adds: of one run, likewise.
        shape: of what multiplies, in words: ``3×3, 64 → 128, 40×40``.
    """

    name: str
    kind: str
    ms: Sequence[float]
    reads: Sequence[str] = ()
    makes: Sequence[str] = ()
    number_format: str | None = None
    multiply_adds: int | None = None
    shape: str = ""


@dataclass(frozen=True)
class Profiled:
    """All layers of an engine, and the tensors that it ends with: boxes and scores, or what NMS made of them."""

    layers: list[ProfiledLayer]
    ends: list[str] = field(default_factory=list)


class ProfiledSession(Session, Protocol):
    """An engine that is opened with its runtime's profiler on."""

    def note(self) -> None:
        """Keep what the last run took; called after each run, outside of its time."""

    def profiled(self) -> Profiled:
        """What every run so far took, layer by layer. Asked once, after the last run."""


@runtime_checkable
class ProfilesLayers(Backend, Protocol):
    """A backend whose runtime tells what each layer takes. Others may say why not in an attribute ``no_profile``."""

    profiler: ClassVar[str]
    """What it is read from, as a sentence names it."""

    def open_profiled(self, engine: Engine) -> AbstractContextManager[ProfiledSession]:
        """As `Backend.open`, instrumented. Raises UnavailableError where this engine cannot be profiled."""


def convolution(kernel: Sequence[int], inputs: int, outputs: int, size: Sequence[int], groups: int = 1) -> str:
    """The shape of a convolution in words.

    Args:
        inputs, outputs: channels.
        size: height and width of its result.
    """
    grouped = f" in {groups} groups" if groups > 1 else ""
    return f"{'×'.join(map(str, kernel))}, {inputs} → {outputs}{grouped}, {'×'.join(map(str, size))}"


def product(inner: int, outputs: Sequence[int]) -> str:
    """The shape of a matrix product in words: how long its sums are, and the shape of its result."""
    return f"product over {inner}, {'×'.join(map(str, outputs))}"
