"""How far a detector's raw outputs are from a reference's: what damage is where there are no labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def output_distance(boxes: Floats, scores: Floats, base_boxes: Floats, base_scores: Floats) -> float:
    """0 for equal outputs; no unit, and no upper bound.

    The sum of two parts, both weighted by what the reference is confident of, since nearly all anchors see background:
    sum |score - base score| / sum base score, over anchors and classes; and 1 - IoU of box and base box, averaged over
    anchors with the base's best score as the weight.

    Args:
        boxes, base_boxes: [N, 4] as (x1, y1, x2, y2), of one image.
        scores, base_scores: [classes, N], 0 to 1.
    """
    tiny = float(np.finfo(np.float32).tiny)
    of_scores = float(np.abs(scores - base_scores).sum(dtype=np.float64)) / max(float(base_scores.sum()), tiny)
    weights = base_scores.max(axis=0).astype(np.float64)
    of_boxes = float(((1 - _iou(boxes, base_boxes)) * weights).sum()) / max(float(weights.sum()), tiny)
    return of_scores + of_boxes


def _iou(one: Floats, other: Floats) -> npt.NDArray[np.float64]:
    """IoU of each pair of boxes [N]; an empty box against an empty one counts as 1."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    corner, end = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    shared = np.prod(np.maximum(end - corner, 0), axis=1)
    areas = [np.prod(np.maximum(box[:, 2:] - box[:, :2], 0), axis=1) for box in (a, b)]
    union = areas[0] + areas[1] - shared
    return np.asarray(np.where(union > 0, shared / np.where(union > 0, union, 1), 1.0))
