"""From what was seen of an activation to the range its quantizer covers.

A range ``r`` is the absolute value that the integer 127 stands for; larger values are clipped. The algorithms have the
names Paddle gives them. All but ``abs_max`` and ``avg`` work on a histogram of absolute values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 2048
LEVELS = 127  # positive int8 values
PERCENT = 0.9999  # of the values lie below the range that ``hist`` chooses

_KL_STEP = 8  # every 8th bin is tried as the end of the range: 0.4 % of the maximum apart

Floats = npt.NDArray[Any]


def from_maxima(maxima: Floats, algorithm: str) -> float:
    """Range from the largest absolute value in each image by one of ``MAXIMA``."""
    return MAXIMA[algorithm](maxima)


def from_histogram(counts: npt.NDArray[np.int64], largest: float, algorithm: str) -> float:
    """Range from ``counts`` [BINS] of absolute values between 0 and ``largest`` by one of ``HISTOGRAMS``."""
    if largest <= 0 or counts.sum() == 0:
        return largest
    return float(HISTOGRAMS[algorithm](counts.astype(np.float64)) * largest / BINS)


def _percentile(counts: Floats) -> float:
    """Middle of the bin in which PERCENT of all values is reached."""
    return float(np.searchsorted(np.cumsum(counts) / counts.sum(), PERCENT) + 0.5)


def _least_error(counts: Floats) -> float:
    """End of the range with the least mean squared error of rounding and clipping, values taken at bin centres."""
    centres = np.arange(BINS) + 0.5
    ends = np.linspace(0.3, 1.0, 71) * BINS
    steps = ends[:, None] / LEVELS
    rounded = np.clip(np.round(centres / steps), 0, LEVELS) * steps
    return float(ends[np.argmin(((centres - rounded) ** 2 * counts).sum(axis=1))])


def _least_divergence(counts: Floats) -> float:
    """End of the range whose quantized histogram has the least Kullback-Leibler divergence from the clipped one.

    What is clipped is added to the last bin, the bins up to the end are merged to LEVELS groups, and each group is
    spread evenly over those of its bins that were not empty.

    Source: TensorRT's entropy calibration, S. Migacz, "8-bit inference with TensorRT", GTC 2017. There every end from
    the 128th bin on is tried; here those from the middle of the histogram on, ``_KL_STEP`` bins apart.
    """
    total = counts.sum()
    best, best_end = np.inf, float(BINS)
    for end in range(BINS // 2, BINS + 1, _KL_STEP):
        if counts[end - 1] == 0:
            continue
        reference = counts[:end].copy()
        reference[-1] += counts[end:].sum()
        filled = reference > 0
        starts = np.arange(LEVELS) * (end // LEVELS)
        groups = np.add.reduceat(counts[:end], starts)
        sizes = np.diff(np.append(starts, end))
        spread = np.repeat(groups / np.maximum(np.add.reduceat(filled, starts), 1), sizes) * filled
        p, q = reference[filled] / total, spread[filled] / spread.sum()
        divergence = float(np.sum(p * np.log(p / q)))
        if divergence < best:
            best, best_end = divergence, end + 0.5
    return best_end


MAXIMA: dict[str, Callable[[Floats], float]] = {
    "abs_max": lambda maxima: float(maxima.max()),
    "avg": lambda maxima: float(maxima.mean()),
}
"""From the largest absolute value in each image: the largest of them, or their mean."""

HISTOGRAMS: dict[str, Callable[[Floats], float]] = {"hist": _percentile, "KL": _least_divergence, "mse": _least_error}
"""From a histogram of absolute values: where the range ends, in bins. A new algorithm is a function, a row in one of
the two tables, and its name in `algorithms.py`."""
