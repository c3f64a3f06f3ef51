"""COCO's numbers from kept matches: equal to pycocotools' to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stages.detection.matching import AREAS, IOUS, LIMITS, RECALLS, Matches

Floats = npt.NDArray[np.float64]

# pycocotools' order: over IoU 0.50:0.95 unless a threshold is named, 100 detections per image and class unless 1 or 10.
STATS: tuple[str, ...] = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
    "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip


def summarize(matches: Matches) -> dict[str, Any]:
    """Scores of the whole set.

    Returns:
        ``STATS`` (0..1, ``None`` where the labels hold no such box), ``per_class_ap`` and ``per_class_ap50`` (lists in
        order of category) and ``per_class_boxes`` (labelled boxes, crowds left out).
    """
    precision, recall, boxes = accumulate(matches)
    found: dict[str, float | None] = {
        "AP": _mean(precision[..., 0]),
        "AP50": _mean(precision[:1, ..., 0]),
        "AP75": _mean(precision[5:6, ..., 0]),
        **{f"AP_{AREAS[a][0]}": _mean(precision[..., a]) for a in (1, 2, 3)},
        **{f"AR_{limit}": _mean(recall[..., 0, m]) for m, limit in enumerate(LIMITS)},
        **{f"AR_{AREAS[a][0]}": _mean(recall[..., a, -1]) for a in (1, 2, 3)},
    }
    classes = range(matches.categories)
    return {
        **found,
        "per_class_ap": [_mean(precision[:, :, k, 0]) for k in classes],
        "per_class_ap50": [_mean(precision[0, :, k, 0]) for k in classes],
        "per_class_boxes": [int(n) for n in boxes[:, 0]],
    }


def accumulate(matches: Matches) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """(precision [IoUs, recall points, classes, areas], recall [IoUs, classes, areas, limits], boxes [classes, areas]).

    -1 where a class has no box in an area range.
    """
    shape = (len(IOUS), matches.categories, len(AREAS))
    precision = -np.ones((shape[0], len(RECALLS), *shape[1:]))
    recall = -np.ones((*shape, len(LIMITS)))
    boxes = box_counts(matches)
    for k in range(matches.categories):
        own = matches.of_category(k)
        rank = matches.rank[own]
        for a in range(len(AREAS)):
            count = int(boxes[k, a])
            if count == 0:
                continue
            hits, ignored = matches.hit[a, own], matches.ignored[a, own]
            for t in range(len(IOUS)):
                hit = (hits >> t) & 1 == 1
                precision[t, :, k, a] = _curve(hit, (ignored >> t) & 1 == 1, count)
                recall[t, k, a] = [np.count_nonzero(hit & (rank < limit)) / count for limit in LIMITS]
    return precision, recall, boxes


def box_counts(matches: Matches) -> npt.NDArray[np.int64]:
    """Boxes that count, int64 [classes, areas]."""
    return np.stack(
        [np.bincount(matches.truth_category[~skip], minlength=matches.categories) for skip in matches.truth_ignored], 1
    )


def _curve(hit: npt.NDArray[np.bool_], ignored: npt.NDArray[np.bool_], count: int) -> Floats:
    """Interpolated precision at ``RECALLS`` [101]; detections in order of score.

    At a recall r it is the envelope: the largest precision at any recall of at least r.

    Source: M. Everingham et al., "The PASCAL visual object classes (VOC) challenge", International Journal of Computer
    Vision 88 (2010), section 4.2, with COCO's 101 recalls instead of 11.
    """
    hits = np.cumsum(hit).astype(np.float64)
    alarms = np.cumsum(~hit & ~ignored).astype(np.float64)
    reached = hits / count
    precision = hits / (alarms + hits + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(reached, RECALLS, side="left")
    out = np.zeros(len(RECALLS))
    inside = at < hits.size
    out[inside] = envelope[at[inside]]
    return out


def _mean(values: Floats) -> float | None:
    valid = values[values > -1]
    return float(np.mean(valid)) if valid.size else None
