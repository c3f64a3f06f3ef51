"""What passes between stages, and what a stage is.

An *artifact* is a folder of files plus a few plain fields. It knows the sha256 of each file and the key of the
store entry that made it. Artifacts are frozen: a stage reads its inputs and never writes to them.

This module imports nothing heavy; Paddle, ONNX Runtime and the like are imported inside the stages that need them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from stages.artifacts import Artifact

# --- what the user brings, and what is collected from it -------------------------------------------------------


# --- what the stages make --------------------------------------------------------------------------------------


# --- a stage ---------------------------------------------------------------------------------------------------

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", bound=Artifact, covariant=True)


@runtime_checkable
class StageContext(Protocol):
    """What a stage may use of the world around it."""

    out: Path
    """Empty folder for the output's files; it is renamed into the store when the stage returns."""
    work: Path
    """Folder that survives an interruption of *this* stage with *these* inputs: checkpoints go here."""
    seed: int
    threads: int
    """CPU threads the stage may use."""
    cores: int
    """CPU cores that it may use in all, with processes that it starts; ``threads`` are those of one engine then."""

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """Report a number; with ``step`` it becomes a point of a curve."""

    def progress(self, done: int, total: int, **fields: float) -> None:
        """Report how far the stage is; ``fields`` (loss, lr, images_per_s, ...) are shown beside the bar."""

    def warn(self, message: str) -> None:
        """Tell the user something that does not stop the stage; kept with the result."""

    def info(self, message: str) -> None:
        """Tell the user something worth a line."""

    def detail(self, message: str) -> None:
        """Tell what matters only to someone who looks into it: kept in the run's logs, shown with ``--verbose``."""


class Stage(Protocol[In, Out]):
    """A unit of work: a small class, constructed with its options, run in a process of its own.

    ``Options``, ``Inputs`` and ``Output`` name the dataclasses, so that a worker can read a request without knowing
    the stage. ``packages`` are the distributions whose versions are part of the key.
    """

    name: ClassVar[str]
    version: ClassVar[int]  # raise it when the meaning of the output changes
    packages: ClassVar[tuple[str, ...]]
    Options: ClassVar[type]
    Inputs: ClassVar[type]
    Output: ClassVar[type[Artifact]]

    def run(self, inputs: In, context: StageContext) -> Out: ...


def artifacts_in(inputs: object) -> Iterator[tuple[str, Artifact]]:
    """The artifacts of a stage's ``Inputs`` with their field names, lists unfolded (``engines[0]``, ...)."""
    for f in dataclasses.fields(inputs):  # type: ignore[arg-type]
        value = getattr(inputs, f.name)
        if isinstance(value, Artifact):
            yield f.name, value
        elif isinstance(value, (list, tuple)):
            for i, item in enumerate(value):
                if isinstance(item, Artifact):
                    yield f"{f.name}[{i}]", item


def input_digests(inputs: object) -> Mapping[str, str]:
    """Field name -> digest for every artifact among ``inputs``: the inputs' part of a key."""
    return {name: artifact.digest for name, artifact in artifacts_in(inputs)}
