"""What ``thresholds.json`` holds, and what of it goes with an engine; see `stages/thresholds/thresholds.py`."""

from __future__ import annotations

from typing import TypedDict


class Operating(TypedDict):
    """From 0 to 1, at IoU 0.5; null where nothing is found, or nothing is labelled."""

    precision: float | None
    recall: float | None


class At(TypedDict):
    """FP32 at its threshold, the engine at that same one, and the engine at its own."""

    base: Operating
    unmoved: Operating
    moved: Operating


class BestF1(TypedDict):
    """The score with the largest F1 on FP32 and on the engine, and the interval of the second."""

    base: float | None
    other: float | None
    low: float | None
    high: float | None


class ClassThreshold(TypedDict):
    """Of one class.

    ``base`` is FP32's threshold, ``other`` where it belongs on the engine's scores, with ``low`` and ``high`` of its
    interval; ``threshold`` is what to use: ``other`` where it ``moved``, else ``base``, and ``why`` says why.
    ``needed``: labelled boxes that would tell this shift from none, where that is known.
    """

    name: str
    boxes: int
    base: float
    other: float | None
    low: float | None
    high: float | None
    threshold: float
    moved: bool
    why: str
    needed: int | None
    best_f1: BestF1
    at: At
    validation: At | None


class EngineThresholds(TypedDict):
    """Of one engine; ``at`` and ``validation`` are of all classes together."""

    precision: str
    classes: list[ClassThreshold]
    at: At
    validation: At | None


class ThresholdsContent(TypedDict):
    """``by``: ``labels``, or ``fp32`` where FP32's own detections took their place."""

    schema_version: int
    backend: str
    base: str
    by: str
    images: int
    draws: int
    confidence: float
    engines: list[EngineThresholds]


class MovedThreshold(TypedDict):
    """Of one class, as it goes with an engine; ``threshold`` is ``base`` where nothing moved."""

    label: str
    base: float
    threshold: float
    low: float | None
    high: float | None


class MovedThresholds(TypedDict):
    """What goes with an engine: FP32's thresholds and its own, for every class of the model in its order."""

    by: str
    images: int
    classes: list[MovedThreshold]
