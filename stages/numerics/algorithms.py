"""The names of the algorithms in `ranges.py`, which are Paddle's. Apart, so that naming one loads no numpy."""

from __future__ import annotations

OF_MAXIMA = ("abs_max", "avg")
"""From the largest absolute value in each image."""
OF_HISTOGRAMS = ("hist", "KL", "mse")
"""From a histogram of absolute values, which takes a second pass."""
ALGORITHMS = (*OF_MAXIMA, *OF_HISTOGRAMS)
