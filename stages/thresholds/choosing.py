"""Which thresholds of an engine move, class by class, and what that does to precision and recall.

A threshold moves only if the 95 % interval of its shift does not hold zero; a class with few boxes keeps its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.detection.bootstrap import Weights, interval
from stages.detection.differences import CONFIDENCE
from stages.detection.matching import Matches
from stages.report.schema_thresholds import At, ClassThreshold, EngineThresholds
from stages.thresholds.curves import EMPTY, Curve, Floats, operating_point
from stages.thresholds.moving import PRECISION, best_f1, moved

LEAST_BOXES = 30
"""Labelled boxes of a class below which its threshold stays: the bootstrap's interval of so few is too narrow."""


@dataclass(frozen=True)
class Seen:
    """What FP32 and another engine found on the same images.

    Attributes:
        numbers: class of the model -> its number in both; classes that these images have no labels of are not in it.
    """

    base: Matches
    other: Matches
    numbers: Mapping[int, int]

    def curves(self, index: int) -> tuple[Curve, Curve]:
        """Of a class of the model; without detections where there are no labels of it."""
        if index not in self.numbers:
            return EMPTY, EMPTY
        return Curve.of(self.base, self.numbers[index]), Curve.of(self.other, self.numbers[index])


def choose(
    precision: str,
    seen: Seen,
    named: Sequence[tuple[str, float]],
    weights: Weights,
    same: str,
    validation: Seen | None = None,
) -> EngineThresholds:
    """The thresholds of every class of an engine, and what they do to precision and recall.

    Args:
        precision: the engine's.
        named: every class of the model in its order, with FP32's threshold.
        weights: int32 [draws, images].
        same: see `stages/thresholds/moving.py`.
        validation: of images that nothing is chosen by; they only show what came of it.
    """
    curves = [seen.curves(index) for index in range(len(named))]
    classes = [_class(*of, at, name, weights, same) for of, (name, at) in zip(curves, named, strict=True)]
    used = [one["threshold"] for one in classes]
    old = [at for _, at in named]
    there = None if validation is None else [validation.curves(index) for index in range(len(named))]
    for index, one in enumerate(classes):
        part = slice(index, index + 1)
        one["at"] = _at(curves[part], old[part], used[part])
        one["validation"] = None if there is None else _at(there[part], old[part], used[part])
    return {
        "precision": precision,
        "classes": classes,
        "at": _at(curves, old, used),
        "validation": None if there is None else _at(there, old, used),
    }


def _class(base: Curve, other: Curve, threshold: float, name: str, weights: Weights, same: str) -> ClassThreshold:
    whole = np.ones((1, weights.shape[1]), np.int32)
    value = _number(moved(base, other, threshold, whole, same))
    draws = moved(base, other, threshold, weights, same)
    bounds = interval(draws, CONFIDENCE)
    boxes = int(base.box_image.size)
    needed = _needed(boxes, value, bounds, threshold)
    why = _why_not(boxes, value, bounds, threshold, needed, same)
    peak = _number(best_f1(other, whole))
    peaks = interval(best_f1(other, weights), CONFIDENCE) if peak is not None else None
    return {
        "name": name,
        "boxes": boxes,
        "base": threshold,
        "other": value,
        "low": bounds[0] if bounds else None,
        "high": bounds[1] if bounds else None,
        "threshold": threshold if why or value is None else value,
        "moved": not why,
        "why": why,
        "needed": needed if why else None,
        "best_f1": {
            "base": _number(best_f1(base, whole)) if same == PRECISION else None,
            "other": peak,
            "low": peaks[0] if peaks else None,
            "high": peaks[1] if peaks else None,
        },
        "at": _at([(base, other)], [threshold], [threshold]),
        "validation": None,
    }


def _why_not(
    boxes: int,
    value: float | None,
    bounds: tuple[float, float] | None,
    threshold: float,
    needed: int | None,
    same: str,
) -> str:
    """Why a threshold stays; empty if it moves."""
    if boxes < LEAST_BOXES:
        return f"only {boxes} boxes; about {needed} are needed"
    if value is None or bounds is None:
        return "its scores never have FP32's precision" if same == PRECISION else "FP32 finds too little from it on"
    if bounds[0] <= threshold <= bounds[1]:
        return "its interval holds FP32's"
    return ""


def _needed(boxes: int, value: float | None, bounds: tuple[float, float] | None, threshold: float) -> int | None:
    """Boxes with which the interval of a shift of this size would not hold zero: its width falls with their root."""
    least = LEAST_BOXES if boxes < LEAST_BOXES else None
    if boxes == 0 or value is None or bounds is None or value == threshold:
        return least
    ratio = (bounds[1] - bounds[0]) / 2 / abs(value - threshold)
    wanted = math.ceil(boxes * ratio * ratio)
    return max(wanted, least or 0) if wanted > boxes else least


def _at(curves: Sequence[tuple[Curve, Curve]], old: Sequence[float], new: Sequence[float]) -> At:
    """Precision and recall over some classes, each with its threshold."""
    base, other = [of[0] for of in curves], [of[1] for of in curves]
    return {
        "base": operating_point(base, old),
        "unmoved": operating_point(other, old),
        "moved": operating_point(other, new),
    }


def _number(values: Floats) -> float | None:
    return None if np.isnan(values[0]) else float(values[0])
