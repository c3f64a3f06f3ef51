"""The application's score thresholds, and where they belong on the scores of another engine than FP32's."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.accuracy import NmsOptions
from stages.options.rules import POSITIVE, SHARE, at_least, each, like, option, part

MOVED = "moved"
"""What `detpress predict --threshold` takes in the place of a number."""


@dataclass
class ThresholdSettings:
    """Thresholds that move with the quantization: named as tuned on FP32, found again on each other engine's scores."""

    score: float | None = option(
        None,
        SHARE,
        "the score from which your application counts a detection, as tuned on FP32; naming it moves it for every "
        "other engine; null: nothing is moved, unless `classes` names one",
    )
    classes: dict[str, float] = option(
        {},
        each(SHARE),
        "the same of single classes by name, e.g. `'thresholds.classes={car: 0.4}'`; the others have `score`, or where "
        "that is null `model.draw_threshold`",
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
    classes: dict[str, float] = like(ThresholdSettings, "classes")
    images: int = like(ThresholdSettings, "images")
    draws: int = like(ThresholdSettings, "draws")
    nms: NmsOptions = part(NmsOptions, "accuracy.nms")
