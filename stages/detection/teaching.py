"""Whether a larger detector can teach a smaller one (``compression.teacher``).

Both have a PP-YOLOE head on the same strides, so at the same input size they have as many anchors. Levels and box
distributions are compared as they come, classes by name.
"""

from __future__ import annotations

from dataclasses import dataclass

from stages.detection.sidecar import Sidecar
from stages.errors import ConfigError
from stages.options.suggest import close_to, suggestion

KEY = "compression.teacher"
CHOOSE = "choose a PP-YOLOE with the same strides and reg_max"
_SHOWN = 6
"""Classes that a message lists."""


@dataclass(frozen=True)
class Side:
    """Student or teacher, as far as they are compared."""

    sidecar: Sidecar
    shapes: list[list[int]]
    """Of the logits, -1 for the open batch: classes [B, C, h, w] and boxes [B, bins, h * w, 4] of each level."""

    @property
    def levels(self) -> list[list[int]]:
        """Height and width of each level."""
        return [shape[2:] for shape in self.shapes[0::2]]

    @property
    def bins(self) -> list[int]:
        """Steps of the distribution of a box side, of each level."""
        return [shape[1] for shape in self.shapes[1::2]]


def fitting_classes(teacher: Side, student: Side) -> list[int]:
    """The teacher's number of each of the student's classes.

    Raises:
        ConfigError: a class is missing, levels or box distributions differ, or images are prepared in another way.
    """
    ours, theirs = student.sidecar, teacher.sidecar
    for what in ("input_size", "interpolation", "mean", "std", "scale"):
        if getattr(ours, what) != getattr(theirs, what):
            raise ConfigError(
                [
                    f"{KEY}: it takes images with {what}={_told(getattr(theirs, what))}, the model with "
                    f"{_told(getattr(ours, what))}; choose a larger model of the same family"
                ]
            )
    if missing := [name for name in ours.labels if name not in theirs.labels]:
        known = ", ".join(theirs.labels[:_SHOWN])
        raise ConfigError(
            [
                f"{KEY}: it does not know the class {missing[0]}{suggestion(close_to(missing[0], theirs.labels))} (it "
                f"has {known}); name its classes in its order (compression.teacher_labels), or train it on this data"
            ]
        )
    if student.levels != teacher.levels or student.bins != teacher.bins:
        raise ConfigError(
            [
                f"{KEY}: its levels are {teacher.levels} with {teacher.bins} steps of a box side, the model's "
                f"{student.levels} with {student.bins}; {CHOOSE}"
            ]
        )
    return [theirs.labels.index(name) for name in ours.labels]


def _told(value: object) -> str:
    return str(list(value) if isinstance(value, tuple) else value)
