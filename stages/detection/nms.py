"""Multi-class non-maximum suppression, the same for every backend.

Semantics of Paddle's ``multiclass_nms3``, which PaddleDetection evaluates with: per class, scores strictly above the
threshold, the best ``nms_top_k`` of them, a box dropped if its IoU with a better kept one is strictly above
``nms_threshold``; then the best ``keep_top_k`` over all classes. Float32 throughout, equal scores in order of class and
anchor.

Only ``keep_top_k`` boxes come out, so candidates are taken in order of score over all classes, in blocks, and the work
ends as soon as enough are kept: the thousands of faint candidates behind them are never compared.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from stages.options import NmsOptions

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

BLOCK = 256  # candidates compared with each other at once
SORTED_AT_ONCE = 4096  # sorting more is put off until they are needed


def multiclass_nms(boxes: Floats, scores: Floats, options: NmsOptions) -> Floats:
    """Detections of one image.

    Args:
        boxes: float32 [N, 4] as (x1, y1, x2, y2).
        scores: float32 [C, N].
        options: thresholds; ``nms_top_k`` or ``keep_top_k`` below 0 means no limit.

    Returns:
        float32 [M, 6] as (class index, score, x1, y1, x2, y2), best first.
    """
    flat = scores.ravel()
    candidates = np.flatnonzero(flat > np.float32(options.score_threshold))
    limit = options.keep_top_k if options.keep_top_k >= 0 else candidates.size
    anchors = scores.shape[1]
    ranks = _Ranks(candidates // anchors, scores.shape[0], options.nms_top_k)
    kept = np.empty(0, np.intp)
    for block in _by_score(flat, candidates):
        if kept.size >= limit:
            break
        block = ranks.within_limit(block, block // anchors)
        survivors = _suppress(boxes, block, kept, anchors, np.float32(options.nms_threshold))
        kept = np.concatenate([kept, survivors])
    kept = kept[:limit]
    out = np.empty((kept.size, 6), np.float32)
    classes, of_anchor = np.divmod(kept, anchors)
    out[:, 0] = classes
    out[:, 1] = flat[kept]
    out[:, 2:] = boxes[of_anchor]
    return out


def _by_score(flat: Floats, candidates: Indices) -> Iterator[Indices]:
    """Candidates in blocks, best first; equal scores in order of index."""
    rest = candidates
    while rest.size:
        now = rest
        if rest.size > 2 * SORTED_AT_ONCE:
            values = flat[rest]
            bound = np.partition(values, rest.size - SORTED_AT_ONCE)[rest.size - SORTED_AT_ONCE]
            now, rest = rest[values >= bound], rest[values < bound]
        else:
            rest = rest[:0]
        now = now[np.argsort(-flat[now], kind="stable")]
        for start in range(0, now.size, BLOCK):
            yield now[start : start + BLOCK]


class _Ranks:
    """Lets the best ``top_k`` candidates of each class through, given in order of score."""

    def __init__(self, classes: Indices, count: int, top_k: int) -> None:
        self._top_k = top_k
        self._seen = np.zeros(count, np.intp)
        # Counting is only needed if some class has more candidates than that.
        self._needed = 0 <= top_k < classes.size and int(np.bincount(classes, minlength=1).max()) > top_k

    def within_limit(self, block: Indices, classes: Indices) -> Indices:
        if not self._needed:
            return block
        order = np.argsort(classes, kind="stable")
        ordered = classes[order]
        rank = np.empty(block.size, np.intp)
        rank[order] = np.arange(block.size) - np.searchsorted(ordered, ordered) + self._seen[ordered]
        self._seen += np.bincount(classes, minlength=self._seen.size)
        return block[rank < self._top_k]


def _suppress(boxes: Floats, block: Indices, kept: Indices, anchors: int, threshold: np.float32) -> Indices:
    """Those of ``block`` (best first) that neither ``kept`` nor a better survivor of the block suppresses."""
    block_classes, block_anchors = np.divmod(block, anchors)
    alive = np.ones(block.size, np.bool_)
    if kept.size:
        kept_classes, kept_anchors = np.divmod(kept, anchors)
        i, j = np.nonzero(kept_classes[:, None] == block_classes[None, :])
        alive[j[_iou(boxes[kept_anchors[i]], boxes[block_anchors[j]]) > threshold]] = False
        block_classes, block_anchors = block_classes[alive], block_anchors[alive]
        block = block[alive]
        alive = np.ones(block.size, np.bool_)
    i, j = np.nonzero(np.triu(block_classes[:, None] == block_classes[None, :], 1))
    over = _iou(boxes[block_anchors[i]], boxes[block_anchors[j]]) > threshold
    i, j = i[over], j[over]
    # Greedy suppression as a fixed point: a box lives iff no living better box suppresses it. Starting from all alive,
    # the first k boxes are right after k rounds, in practice all after three or four.
    while True:
        after = np.ones(block.size, np.bool_)
        after[j[alive[i]]] = False
        if np.array_equal(after, alive):
            return block[alive]
        alive = after


def _iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of boxes [P, 4] with boxes [P, 4]; 0 where they do not meet."""
    width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    meet = np.maximum(width, 0) * np.maximum(height, 0)
    union = _area(a) + _area(b) - meet
    return np.asarray(np.divide(meet, union, out=np.zeros_like(meet), where=union > 0))


def _area(a: Floats) -> Floats:
    return np.asarray(np.maximum(a[:, 2] - a[:, 0], 0) * np.maximum(a[:, 3] - a[:, 1], 0))
