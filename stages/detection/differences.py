"""Differences between two sets of detections on the same images, with paired intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stages.detection.average_precision import accumulate
from stages.detection.bootstrap import draw_weights, interval, mean_over_classes, resample
from stages.detection.matching import AREAS, Matches

CONFIDENCE = 0.95


NAMES: tuple[str, ...] = ("map", "map50", "map75", "map_small", "map_medium", "map_large")


Floats = npt.NDArray[np.float64]


def differ(
    base: Matches, other: Matches, draws: int, seed: int, threads: int
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Differences ``other - base`` in points, with intervals from ``draws`` resamplings, and the draws themselves."""
    points = 100 * (_averages(other) - _averages(base))  # [classes, areas, metrics]
    weights = draw_weights(base.images, draws, seed) if draws else np.zeros((0, base.images), np.int32)
    values = np.full((len(weights), *points.shape), np.nan)
    if draws:
        values = 100 * (resample(other, weights, threads) - resample(base, weights, threads))
    overall, resampled = mean_over_classes(points[None])[0], mean_over_classes(values)
    where = {name: (0, m) for m, name in enumerate(NAMES[:3])}
    where |= {f"map_{AREAS[a][0]}": (a, 0) for a in range(1, len(AREAS))}
    of_draws = {name: resampled[:, area, metric] for name, (area, metric) in where.items()}
    found: dict[str, Any] = {name: _with_interval(float(overall[at]), of_draws[name]) for name, at in where.items()}
    boxes = np.bincount(base.truth_category[~base.truth_ignored[0]], minlength=base.categories)
    unknown = {"value": None, "low": None, "high": None}
    found["per_class"] = [
        {"boxes": int(boxes[k]), **(_with_interval(float(points[k, 0, 0]), values[:, k, 0, 0]) or unknown)}
        for k in range(base.categories)
    ]
    return found, of_draws


def _averages(matches: Matches) -> Floats:
    """AP, AP50, AP75 [classes, areas, 3] of the set itself; NaN without boxes."""
    precision = accumulate(matches)[0]  # [IoUs, recall points, classes, areas]
    averages = np.stack([precision.mean(axis=(0, 1)), precision[0].mean(axis=0), precision[5].mean(axis=0)], axis=-1)
    return np.where(averages < 0, np.nan, averages)


def _with_interval(value: float, draws: Floats) -> dict[str, float | None] | None:
    if np.isnan(value):
        return None
    low, high = interval(draws, CONFIDENCE) or (None, None)
    return {"value": value, "low": low, "high": high}
