"""Where a threshold that was tuned on one engine's scores stands on another's, with its interval.

A threshold matters only by which detections it keeps. So the search for its place on the other engine's scores begins
where that engine keeps *as many* detections as the first one does, and continues to the nearest score at which
its *precision* is that of the first one: up while it is less, down as long as it is not. Where the old threshold keeps
just these detections, it stays. Else the new one stands between two scores where the old one stood between its own, so
that a threshold moves exactly with scores that were only shrunk, and not at all with scores that are the same.

Without labels the first engine's detections take the place of the labels, and a precision of 1 would be asked for.
There the search ends where it begins: as many detections, at which precision and recall against the first engine are
equal (the break-even point of the two).

Draws are paired: both engines see the same resampled images, so that the images' difficulty falls out of the shift.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stages.detection.bootstrap import Weights
from stages.thresholds.curves import Counts, Curve, Floats

_ELEMENTS = 1 << 21
"""Array elements of one step."""

_MARGIN = 1e-5
"""Away from the scores on both sides, which another runtime may round otherwise."""

PRECISION, COUNT = "precision", "count"
"""What is to be the same on both sides of a move."""


def moved(base: Curve, other: Curve, threshold: float, weights: Weights, same: str) -> Floats:
    """The threshold on the other engine's scores, in each draw.

    Args:
        threshold: on the scores of ``base``.
        weights: int32 [draws, images].
        same: ``PRECISION`` or ``COUNT``.

    Returns:
        float64 [draws]; NaN where the base keeps nothing, or the other engine has no such precision.
    """
    return _in_steps(lambda part: _moved(base, other, threshold, part, same), weights, base, other)


def best_f1(curve: Curve, weights: Weights) -> Floats:
    """The score from which on F1 is largest, in each draw [draws]; NaN without a hit."""
    return _in_steps(lambda part: _best_f1(curve, part), weights, curve)


def _in_steps(work: Callable[[Weights], Floats], weights: Weights, *curves: Curve) -> Floats:
    step = max(1, _ELEMENTS // max(1, *(curve.score.size for curve in curves)))
    parts = [work(weights[start : start + step]) for start in range(0, len(weights), step)]
    return np.concatenate([np.empty(0), *parts])


def _moved(base: Curve, other: Curve, threshold: float, weights: Weights, same: str) -> Floats:
    wanted, hits_wanted = base.counted(threshold, weights)
    score, found, hits = other.levels(weights)
    if score.size == 0:
        return np.full(len(weights), np.nan)
    rows, last = np.arange(len(weights)), score.size - 1
    at = _nearest(found, wanted)
    known = wanted > 0
    if same == PRECISION:
        # In whole numbers, so that equal precisions are equal: hits / found >= hits_wanted / wanted.
        own, asked = hits * wanted[:, None], hits_wanted[:, None] * found
        enough = (own >= asked) & (found > 0)
        equal = (own[rows, at] == asked[rows, at]) & (found[rows, at] > 0)
        places = np.arange(score.size)
        ahead = np.where(~enough & (places > at[:, None]), places, last + 1).min(axis=1) - 1
        back = np.where(enough & (places < at[:, None]), places, -1).max(axis=1)
        at = np.where(equal, at, np.where(enough[rows, at], ahead, back))
        known &= at >= 0
        at = np.maximum(at, 0)
    kept = found[rows, at]
    above = score[(found < kept[:, None]).sum(axis=1)]
    after = (found <= kept[:, None]).sum(axis=1)
    below = np.where(after <= last, score[np.minimum(after, last)], 0.0)
    margin = np.minimum((above - below) / 4, _MARGIN)
    place = np.clip(below + base.place(threshold, weights) * (above - below), below + margin, above - margin)
    # The old threshold may keep just these detections too: nothing is gained by another one.
    place = np.where((below < threshold) & (threshold <= above), threshold, np.round(place, 6))
    return np.where(known & (kept > 0), place, np.nan)


def _nearest(found: Counts, wanted: Counts) -> Counts:
    """The level [draws] at which a count [draws, L], rising, is nearest to what is wanted; of two, the larger count."""
    rows = np.arange(len(found))
    reached = np.minimum((found < wanted[:, None]).sum(axis=1), found.shape[1] - 1)
    before = np.maximum(reached - 1, 0)
    closer = wanted - found[rows, before] < found[rows, reached] - wanted
    return np.where(closer & (found[rows, before] > 0), before, reached)


def _best_f1(curve: Curve, weights: Weights) -> Floats:
    score, found, hits = curve.levels(weights)
    if score.size == 0:
        return np.full(len(weights), np.nan)
    f1 = 2 * hits / np.maximum(found + curve.boxes(weights)[:, None], 1)
    return np.where(hits[:, -1] > 0, score[f1.argmax(axis=1)], np.nan)
