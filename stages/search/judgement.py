"""What is known of one step: its drop against FP32 with the paired 95 % interval, and how many images would say more.

A drop is in points of mAP on labelled images, or, where there are none, the mean distance of the raw outputs
(``stages/mixed_precision/distance.py``). Both are FP32's against this step's, on the same images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.detection.bootstrap import draw_weights, interval, mean_over_classes, resample
from stages.detection.matching import Matches
from stages.errors import StageError

MAP, DISTANCE = "mAP", "distance"
"""What a drop is measured in: points of mAP, or the distance of outputs."""
DRAWS = 1000
"""Resamplings of the images for an interval."""


@dataclass(frozen=True)
class Judgement:
    """``drop`` lies between ``low`` and ``high`` with 95 %, by resampling the ``images`` that it was judged on.

    ``speedup``: FP32's time / this engine's, where it was timed.
    """

    drop: float
    low: float
    high: float
    images: int
    unit: str = MAP
    speedup: float | None = None

    def holds(self, limit: float) -> bool:
        """Whether the worse bound is within the limit."""
        return self.high <= limit

    @property
    def zero(self) -> bool:
        """Whether so many images do not tell the drop apart from none."""
        return self.low <= 0 <= self.high


def judge_map(base: Matches, other: Matches, drop: float, images: int, seed: int) -> Judgement:
    """A drop in points of mAP. StageError where the images hold too few boxes for an interval."""
    weights = draw_weights(len(base.image_ids), DRAWS, seed)
    draws = [100 * mean_over_classes(resample(matches, weights)[:, :, 0])[:, 0] for matches in (base, other)]
    return Judgement(drop, *_bounds(draws[0] - draws[1]), images)


def judge_distance(distances: Sequence[float], seed: int) -> Judgement:
    """The mean of each image's distance."""
    weights = draw_weights(len(distances), DRAWS, seed)
    draws = weights @ np.asarray(distances, np.float64) / len(distances)
    return Judgement(float(np.mean(distances)), *_bounds(draws), len(distances), DISTANCE)


def images_to_tell(judgement: Judgement) -> int | None:
    """How many images would tell this drop apart from zero, if it is what it looks like: an interval's width falls with
    the root of their number. ``None`` if these do already, or no number would."""
    if not judgement.zero or judgement.drop == 0:
        return None
    towards_zero = judgement.drop - judgement.low if judgement.drop > 0 else judgement.high - judgement.drop
    return _more(judgement.images, towards_zero / abs(judgement.drop))


def images_to_hold(judgement: Judgement, limit: float) -> int | None:
    """How many images would show that the limit holds, if the drop is what it looks like; ``None`` if these do already,
    or the drop itself is above the limit."""
    if judgement.holds(limit) or judgement.drop >= limit:
        return None
    return _more(judgement.images, (judgement.high - judgement.drop) / (limit - judgement.drop))


def _more(images: int, ratio: float) -> int:
    return max(images + 1, math.ceil(round(images * ratio**2, 6)))


def _bounds(draws: np.ndarray) -> tuple[float, float]:  # type: ignore[type-arg]
    bounds = interval(draws)
    if bounds is None:
        raise StageError(
            "the images that compressions are judged on hold too few labelled boxes for an interval; set "
            "compression.judge_images higher, or label more training images (data.train_annotations)"
        )
    return bounds
