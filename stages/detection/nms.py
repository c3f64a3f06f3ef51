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

from stages.options.accuracy import NmsOptions

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

BLOCK = 256  # candidates compared with each other at once
SORTED_AT_ONCE = 2048  # sorting more is put off until they are needed


@np.errstate(over="ignore", invalid="ignore")  # of an engine whose boxes are no numbers
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
    own = _Boxes(boxes, block, anchors)
    if kept.size:
        better = _Boxes(boxes, kept, anchors)
        i, j = np.nonzero(better.classes[:, None] == own.classes[None, :])
        alive = np.ones(block.size, np.bool_)
        alive[j[_iou(better, own, i, j) > threshold]] = False
        block = block[alive]
        own = _Boxes(boxes, block, anchors)
    i, j = np.nonzero(np.triu(own.classes[:, None] == own.classes[None, :], 1))
    over = _iou(own, own, i, j) > threshold
    i, j = i[over], j[over]
    # Greedy suppression as a fixed point: a box lives iff no living better box suppresses it. Starting from all alive,
    # the first k boxes are right after k rounds, in practice all after three or four.
    alive = np.ones(block.size, np.bool_)
    while True:
        after = np.ones(block.size, np.bool_)
        after[j[alive[i]]] = False
        if np.array_equal(after, alive):
            return block[alive]
        alive = after


class _Boxes:
    """The boxes of some candidates, column by column, and their classes."""

    def __init__(self, boxes: Floats, candidates: Indices, anchors: int) -> None:
        self.classes = (candidates // anchors).astype(np.int32)
        own = boxes[candidates - self.classes * anchors]
        self.x1, self.y1, self.x2, self.y2 = np.ascontiguousarray(own.T)
        self.area = np.maximum(self.x2 - self.x1, 0) * np.maximum(self.y2 - self.y1, 0)


def _iou(a: _Boxes, b: _Boxes, i: Indices, j: Indices) -> Floats:
    """Intersection over union of box ``i[k]`` of ``a`` with box ``j[k]`` of ``b``; 0 where they do not meet."""
    width = np.minimum(a.x2[i], b.x2[j]) - np.maximum(a.x1[i], b.x1[j])
    height = np.minimum(a.y2[i], b.y2[j]) - np.maximum(a.y1[i], b.y1[j])
    meet = np.maximum(width, 0) * np.maximum(height, 0)
    union = a.area[i] + b.area[j] - meet
    return np.asarray(np.divide(meet, union, out=np.zeros_like(meet), where=union > 0))
