"""Paired bootstrap over images: how far a difference of mAP could have come from the choice of images.

A draw is a sample of the images with replacement; engines that are compared get the same draws, so that what is hard
about an image falls out of the difference (B. Efron, "Bootstrap methods: another look at the jackknife", Annals of
Statistics 7 (1979), 1-26). Matching is done once
(`stages/detection/matching.py`): a draw only weighs each image by how often it was drawn, and cumulative sums of these
weights, in order of score, are the counts of hits and false alarms.

Two facts make it fast. The precision envelope is decided at hits, so thresholds need no more than those positions. And
most detections never touch a box: they are false alarms at every IoU threshold, and are summed once for all of them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from stages.detection.matching import ALL_IOUS, AREAS, IOUS, RECALLS, Matches

Floats = npt.NDArray[np.float64]
Weights = npt.NDArray[np.int32]

METRICS: tuple[str, ...] = ("AP", "AP50", "AP75")
_AT = {"AP50": 0, "AP75": 5}  # of IOUS
_ELEMENTS = 1 << 20  # array elements of one step: what stays in a core's cache


def draw_weights(images: int, draws: int, seed: int) -> Weights:
    """int32 [draws, images]: how often each image was drawn."""
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, images, (draws, images), dtype=np.int32)
    return np.stack([np.bincount(row, minlength=images) for row in picks]).astype(np.int32)


def resample(matches: Matches, weights: Weights, threads: int = 1) -> Floats:
    """Average precision in each draw.

    Args:
        matches: of one engine.
        weights: int32 [draws, images].
        threads: NumPy's loops run side by side in that many threads.

    Returns:
        float64 [draws, classes, areas, ``METRICS``]; NaN where the draw holds no box of that class and area.
    """
    out = np.full((len(weights), matches.categories, len(AREAS), len(METRICS)), np.nan)
    tasks = [(k, a) for a in range(len(AREAS)) for k in range(matches.categories)]
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for _ in pool.map(lambda task: _fill(out[:, task[0], task[1]], matches, weights, *task), tasks):
            pass
    return out


def mean_over_classes(values: Floats) -> Floats:
    """float64 [draws, classes, ...] -> [draws, ...], classes without boxes left out; NaN where none is left."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def interval(draws: Floats, confidence: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of one number's draws; ``None`` if it is known in less than half of them.

    Source: B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
    """
    known = draws[~np.isnan(draws)]
    if known.size * 2 < draws.size or known.size < 2:
        return None
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _fill(out: Floats, matches: Matches, weights: Weights, category: int, area: int) -> None:
    """Average precisions of one class and area: fills ``out`` [draws, METRICS]."""
    boxes = matches.truth_image[(matches.truth_category == category) & ~matches.truth_ignored[area]]
    if boxes.size == 0:
        return
    own = matches.of_category(category)
    hit, ignored, image = matches.hit[area, own], matches.ignored[area, own], matches.image[own]
    counted = ignored != ALL_IOUS  # the others are neither hits nor alarms at any threshold
    hit, ignored, image = hit[counted], ignored[counted], image[counted]
    events = np.flatnonzero((hit | ignored) != 0)
    image = image[: events[-1] + 1 if events.size else 0]  # behind the last hit nothing changes the curve
    step = max(1, _ELEMENTS // max(1, image.size, boxes.size))
    for start in range(0, len(weights), step):
        own_weights = weights[start : start + step]
        count = own_weights.take(boxes, axis=1).sum(axis=1)
        averages = _averages(own_weights, image, events, hit[events], ignored[events], count)
        rows = out[start : start + step]
        rows[:, 0] = averages.mean(axis=1)
        for m, name in enumerate(METRICS[1:], start=1):
            rows[:, m] = averages[:, _AT[name]]
        rows[count == 0] = np.nan


def _averages(
    weights: Weights,
    image: npt.NDArray[np.int32],
    events: npt.NDArray[np.intp],
    hit: npt.NDArray[np.uint16],
    ignored: npt.NDArray[np.uint16],
    count: npt.NDArray[np.int64],
) -> Floats:
    """float64 [draws, IoUs]; ``events`` are the detections that are a hit or ignored at some threshold."""
    averages = np.zeros((len(weights), len(IOUS)))
    if events.size == 0:
        return averages
    seen = np.cumsum(weights.take(image, axis=1), axis=1, dtype=np.int32).take(events, axis=1)
    at_event = weights.take(image[events], axis=1)
    # Recall points that h hits out of `count` reach, as pycocotools counts them: precision there is the envelope's.
    most = int(count.max())
    reached = np.searchsorted(RECALLS, np.arange(most + 1) / np.maximum(count, 1)[:, None], side="right")
    reached = reached.astype(np.int16)
    row = (np.arange(len(weights), dtype=np.int32) * (most + 1))[:, None]
    for t in range(len(IOUS)):
        here = np.flatnonzero((hit >> t) & 1)
        if here.size == 0:
            continue
        hits = np.cumsum(at_event.take(here, axis=1), axis=1, dtype=np.int32)
        total = seen.take(here, axis=1)
        out_of_it = np.flatnonzero((ignored >> t) & 1)
        if out_of_it.size:
            skipped = np.cumsum(at_event.take(out_of_it, axis=1), axis=1, dtype=np.int32)
            before = np.searchsorted(out_of_it, here)  # how many of them stand before each hit
            total[:, before > 0] -= skipped.take(before[before > 0] - 1, axis=1)
        precision = hits / np.maximum(total, 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        points = reached.ravel().take(hits + row)
        # The first hit of a draw also answers for recall 0; a detection of weight 0 answers for nothing.
        new = np.diff(points, axis=1, prepend=np.int16(0))
        averages[:, t] = (envelope * new).sum(axis=1) / len(RECALLS)
    return averages
