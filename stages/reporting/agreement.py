"""How alike the engines' detections are, pair by pair, whatever the labels say."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.detection.comparing import best_threshold
from stages.detection.matching import Detections, Matches, Truth, match


def agreement(named: list[tuple[str, Matches]]) -> dict[str, Any] | None:
    """F1 of each engine's detections against each other's, taken as the truth, at IoU 0.5 and one score threshold.

    Returns:
        ``names``, ``threshold`` (where the first engine has its best F1 against the labels) and ``f1`` (a symmetric
        matrix, 1 on the diagonal); ``None`` with fewer than two engines, or engines scored on different images.
    """
    if len(named) < 2 or any(not np.array_equal(m.image_ids, named[0][1].image_ids) for _, m in named):
        return None
    threshold = best_threshold(named[0][1])
    found = [_above(m, threshold) for _, m in named]
    f1 = np.eye(len(named))
    for i, one in enumerate(found):
        for j, other in enumerate(found[:i]):
            f1[i, j] = f1[j, i] = _f1(one, other, named[0][1])
    return {"names": [name for name, _ in named], "threshold": threshold, "f1": f1.round(6).tolist()}


def _above(matches: Matches, threshold: float) -> Detections:
    kept = matches.score >= threshold
    box = matches.bbox[kept].astype(np.float64)
    return Detections(matches.image[kept], matches.category[kept], matches.score[kept], box)


def _f1(one: Detections, other: Detections, like: Matches) -> float:
    total = one.score.size + other.score.size
    if total == 0:
        return 1.0
    truth = Truth(
        like.image_ids.tolist(), like.category_ids.tolist(), one.image, one.category, one.box,
        one.box[:, 2] * one.box[:, 3], np.zeros(one.score.size, np.bool_),
    )  # fmt: skip
    return 2 * int((match(truth, other).hit[0] & 1).sum()) / total
