"""What matches of the same images say beyond their scores: a threshold to use, calibration, losses image by image.

Everything here is at IoU 0.5 over boxes of all sizes, unless it says otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stages.detection.matching import IOUS, Matches

Floats = npt.NDArray[np.float64]
BINS = 10


def best_threshold(matches: Matches) -> float:
    """The score threshold with the largest F1 over the whole set: where one would use the detector. 0 without hits."""
    order = np.argsort(-matches.score, kind="stable")
    hit = (matches.hit[0, order] & 1).astype(np.int64)
    shown = hit | ((matches.ignored[0, order] & 1) == 0)
    boxes = np.count_nonzero(~matches.truth_ignored[0])
    f1 = 2 * np.cumsum(hit) / np.maximum(np.cumsum(shown) + boxes, 1)
    return float(matches.score[order[f1.argmax()]]) if hit.any() else 0.0


def image_f1(matches: Matches, threshold: float) -> Floats:
    """F1 of each image [images], as the mean over IoU 0.50:0.95, of detections with at least that score.

    1 for an image without boxes on which nothing was found.
    """
    kept = matches.score >= threshold
    image, hit, ignored = matches.image[kept], matches.hit[0, kept], matches.ignored[0, kept]
    boxes = np.bincount(matches.truth_image[~matches.truth_ignored[0]], minlength=matches.images)
    total = np.zeros(matches.images)
    for t in range(len(IOUS)):
        hits = np.bincount(image, (hit >> t) & 1, matches.images)
        shown = np.bincount(image, 1 - ((ignored >> t) & 1), matches.images)
        of = shown + boxes
        total += np.divide(2 * hits, of, out=np.ones(matches.images), where=of > 0)
    return total / len(IOUS)


def calibration(matches: Matches, least: float = 0.05) -> dict[str, Any]:
    """How far scores are probabilities: per bin of score, the mean score and the share of hits.

    ``error`` is the expected calibration error: the mean distance of the two over detections from ``least`` on.
    """
    kept = (matches.score >= least) & ((matches.ignored[0] & 1) == 0)
    score, hit = matches.score[kept], (matches.hit[0, kept] & 1).astype(np.float64)
    number = np.minimum((score * BINS).astype(np.intp), BINS - 1)
    count = np.bincount(number, minlength=BINS)
    mean = np.bincount(number, score, BINS) / np.maximum(count, 1)
    share = np.bincount(number, hit, BINS) / np.maximum(count, 1)
    error = float((np.abs(mean - share) * count).sum() / count.sum()) if count.sum() else None
    bins = [
        {"from": b / BINS, "count": int(count[b]), "score": float(mean[b]), "hits": float(share[b])}
        for b in range(BINS)
        if count[b]
    ]
    return {"error": error, "bins": bins}


def score_shift(base: Matches, other: Matches) -> dict[str, Any]:
    """Score of ``other`` minus score of ``base`` over the labelled boxes that both found."""
    boxes = len(base.truth_image)
    scores = np.full((2, boxes), np.nan)
    for row, matches in zip(scores, (base, other), strict=True):
        found = matches.box >= 0
        row[matches.box[found]] = matches.score[found]
    shift = (scores[1] - scores[0])[~np.isnan(scores).any(axis=0)]
    if shift.size == 0:
        return {"boxes": 0, "mean": None, "std": None, "p5": None, "p50": None, "p95": None}
    p5, p50, p95 = (float(p) for p in np.percentile(shift, [5, 50, 95]))
    return {
        "boxes": int(shift.size),
        "mean": float(shift.mean()),
        "std": float(shift.std()),
        "p5": p5,
        "p50": p50,
        "p95": p95,
    }
