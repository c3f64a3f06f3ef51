"""How far two sets of detections of the same images are the same, whatever the labels say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.detection.matching import LIMITS, Detections, Truth, match

Floats = npt.NDArray[np.float64]
IOU = 0.5
"""From here on two boxes of a class are partners."""


@dataclass(frozen=True)
class Likeness:
    """Of two sets: boxes that count, those of them with a partner, and what tells the partners apart."""

    boxes: int
    """Of both sets, from the score threshold on."""
    matched: int
    iou: float | None
    """Mean IoU of the partners; ``None`` without any, as for the differences."""
    score_difference: float | None
    """Mean of the absolute differences of the partners' scores."""
    largest_score_difference: float | None

    @property
    def share(self) -> float:
        """Share of the boxes with a partner: the F1 of one set with the other as the truth. 1 without boxes."""
        return self.matched / self.boxes if self.boxes else 1.0


def likeness(one: Detections, other: Detections, score: float, slack: float = 0.0) -> Likeness:
    """Compare two sets; images and classes are numbered alike in both.

    A box counts if its own score is at least ``score``. It looks for a partner down to ``score - slack``, so that a box
    at the threshold is not lost because of its last digit.
    """
    boxes, matched = 0, 0
    ious: list[Floats] = []
    scores: list[Floats] = []
    for wanted, found in ((one, other), (other, one)):
        own, partners = _from(wanted, score), _from(found, score - slack)
        boxes += own.score.size
        if own.score.size == 0 or partners.score.size == 0:
            continue
        classes = int(max(own.category.max(), partners.category.max())) + 1
        images = int(max(own.image.max(), partners.image.max())) + 1
        truth = Truth(
            list(range(images)), list(range(classes)), own.image, own.category, own.box,
            own.box[:, 2] * own.box[:, 3], np.zeros(own.score.size, np.bool_),
        )  # fmt: skip
        matches = match(truth, partners)
        taken = matches.box >= 0
        mine, theirs = matches.box[taken], matches.source[taken]
        matched += int(taken.sum())
        ious.append(_iou(own.box[mine], partners.box[theirs]))
        scores.append(np.abs(own.score[mine] - partners.score[theirs]))
    of, apart = (np.concatenate([np.empty(0), *parts]) for parts in (ious, scores))
    if matched == 0:
        return Likeness(boxes, 0, None, None, None)
    return Likeness(boxes, matched, float(of.mean()), float(apart.mean()), float(apart.max()))


def _from(found: Detections, score: float) -> Detections:
    """Those from a score on, of each class and image the best that matching looks at."""
    kept = np.flatnonzero(found.score >= score)
    kept = kept[np.lexsort((-found.score[kept], found.category[kept], found.image[kept]))]
    group = np.stack([found.image[kept], found.category[kept]])
    first = np.flatnonzero(np.any(np.diff(group, axis=1, prepend=-1) != 0, axis=0))
    rank: npt.NDArray[np.intp] = np.arange(kept.size) - np.repeat(first, np.diff(np.append(first, kept.size)))
    kept = kept[rank < LIMITS[-1]]
    return Detections(found.image[kept], found.category[kept], found.score[kept], found.box[kept])


def _iou(one: Floats, other: Floats) -> Floats:
    """IoU of boxes (x, y, width, height), pair by pair; 0 for two empty boxes."""
    low = np.maximum(one[:, :2], other[:, :2])
    high = np.minimum(one[:, :2] + one[:, 2:], other[:, :2] + other[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    whole = np.prod(one[:, 2:], axis=1) + np.prod(other[:, 2:], axis=1) - common
    ratio: Floats = np.divide(common, whole, out=np.zeros_like(common), where=whole > 0)
    return ratio
