"""What an engine found of one class as counts by score, for any resampling of the images.

Everything is at IoU 0.5 over boxes of all sizes. ``weights`` are int32 [draws, images]: how often each image counts
(`stages/detection/bootstrap.py`); a single row of ones is the set itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.detection.bootstrap import Weights
from stages.detection.matching import Matches
from stages.report.schema_thresholds import Operating

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Curve:
    """Detections of one class, best score first, without those that COCO ignores.

    Attributes:
        score: float64 [N], falling.
        image: int32 [N], the number of the image.
        hit: bool [N]; the others are false alarms.
        box_image: int32 [G], the image of each labelled box.
    """

    score: Floats
    image: npt.NDArray[np.int32]
    hit: npt.NDArray[np.bool_]
    box_image: npt.NDArray[np.int32]

    @classmethod
    def of(cls, matches: Matches, category: int) -> Curve:
        """The class with this number (not its id)."""
        own = matches.of_category(category)
        counts = (matches.ignored[0, own] & 1) == 0
        boxes = (matches.truth_category == category) & ~matches.truth_ignored[0]
        return cls(
            matches.score[own][counts],
            matches.image[own][counts],
            (matches.hit[0, own][counts] & 1) == 1,
            matches.truth_image[boxes],
        )

    def boxes(self, weights: Weights) -> Counts:
        """Labelled boxes in each draw [draws]."""
        return np.asarray(weights[:, self.box_image].sum(axis=1), np.int64)

    def counted(self, threshold: float, weights: Weights) -> tuple[Counts, Counts]:
        """Detections from the threshold on, and hits among them, in each draw [draws]."""
        kept = self.score >= threshold
        own = weights[:, self.image[kept]]
        return own.sum(axis=1, dtype=np.int64), own[:, self.hit[kept]].sum(axis=1, dtype=np.int64)

    def levels(self, weights: Weights) -> tuple[Floats, Counts, Counts]:
        """The different scores [L], falling, and for each the detections from it on and their hits [draws, L].

        No threshold divides detections of one score: an INT8 head may give the same to many.
        """
        if self.score.size == 0:
            none = np.zeros((len(weights), 0), np.int64)
            return self.score, none, none
        ends = np.flatnonzero(np.append(np.diff(self.score) < 0, True))
        own = weights[:, self.image].astype(np.int64)
        found, hits = np.cumsum(own, axis=1), np.cumsum(own * self.hit, axis=1)
        return self.score[ends], found[:, ends], hits[:, ends]

    def place(self, threshold: float, weights: Weights) -> Floats:
        """Where the threshold stands between the drawn scores around it, in each draw [draws].

        1 at the lowest score that it keeps, towards 0 at the highest that it leaves out (0.0 where there is none); NaN
        of a draw in which it keeps nothing.
        """
        drawn = weights[:, self.image] > 0
        kept = self.score >= threshold
        above = np.where(drawn & kept, self.score, np.inf).min(axis=1, initial=np.inf)
        below = np.where(drawn & ~kept, self.score, 0.0).max(axis=1, initial=0.0)
        known = np.isfinite(above)
        gap = np.where(known, above - below, 1.0)
        return np.where(known, np.divide(threshold - below, gap, out=np.ones_like(gap), where=gap > 0), np.nan)


EMPTY = Curve(np.empty(0), np.empty(0, np.int32), np.empty(0, np.bool_), np.empty(0, np.int32))


def operating_point(curves: Sequence[Curve], thresholds: Sequence[float]) -> Operating:
    """Precision and recall over some classes, each from its threshold on, of the whole set."""
    kept = [curve.score >= threshold for curve, threshold in zip(curves, thresholds, strict=True)]
    hits = sum(int(curve.hit[own].sum()) for curve, own in zip(curves, kept, strict=True))
    found, boxes = sum(int(own.sum()) for own in kept), sum(curve.box_image.size for curve in curves)
    return {"precision": hits / found if found else None, "recall": hits / boxes if boxes else None}
