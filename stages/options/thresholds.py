"""The application's score thresholds, and where they belong on the scores of another engine than FP32's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stages.options.accuracy import NmsOptions
from stages.options.rules import POSITIVE, SHARE, Rule, at_least, like, option, part

MOVED = "moved"
"""What `detpress predict --threshold` takes in the place of a number."""


def scores_by_class(classes: Sequence[str]) -> dict[str, float]:
    """Class name -> score, of texts like ``car:0.4``; a name may have colons. Raises ValueError for other texts."""
    parts = [text.rpartition(":") for text in classes]
    return {name.strip(): float(score) for name, _, score in parts}


def _are_scores(classes: Sequence[str]) -> bool:
    found = scores_by_class(classes)
    return len(found) == len(classes) and all(found) and all(0 <= score <= 1 for score in found.values())


@dataclass
class ThresholdSettings:
    """Thresholds that move with the quantization: named as tuned on FP32, found again on each other engine's scores."""

    score: float | None = option(
        None,
        SHARE,
        "the score from which your application counts a detection, as tuned on FP32; naming it moves it for every "
        "other engine; null: nothing is moved, unless `classes` names one",
    )
    classes: list[str] = option(
        [],
        Rule(_are_scores, "it must be a list of NAME:SCORE with scores from 0 to 1, e.g. [car:0.4,bus:0.35]"),
        "the same of single classes, `NAME:SCORE` each; the others have `score`, or where that is null "
        "`model.draw_threshold`",
    )
    images: int = option(
        1000,
        POSITIVE,
        "images that thresholds are moved by, spread over the labelled training images, or without those over the "
        "unlabeled ones; never one of the validation set",
    )
    draws: int = option(1000, at_least(100), "resamplings of the images for the interval of a threshold")


@dataclass
class ThresholdOptions:
    """Options of stage ``thresholds``; NMS is the one that scoring uses."""

    score: float = like(ThresholdSettings, "score", default=0.5)
    classes: list[str] = like(ThresholdSettings, "classes")
    images: int = like(ThresholdSettings, "images")
    draws: int = like(ThresholdSettings, "draws")
    nms: NmsOptions = part(NmsOptions, "accuracy.nms")
