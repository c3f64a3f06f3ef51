"""Ranges from maxima and histograms."""

from __future__ import annotations

import numpy as np
import pytest

from stages.numerics.algorithms import OF_HISTOGRAMS, OF_MAXIMA
from stages.numerics.ranges import BINS, HISTOGRAMS, MAXIMA, from_histogram, from_maxima


def histogram(values: np.ndarray, largest: float) -> np.ndarray:
    return np.histogram(np.abs(values), bins=BINS, range=(0, largest))[0]


def quantization_error(values: np.ndarray, limit: float) -> float:
    step = limit / 127
    return float(np.mean((values - np.clip(np.round(values / step), -127, 127) * step) ** 2))


def test_maxima() -> None:
    maxima = np.array([1.0, 2.0, 6.0], np.float32)
    assert from_maxima(maxima, "abs_max") == 6.0
    assert from_maxima(maxima, "avg") == 3.0


def test_percentile_ignores_a_few_outliers() -> None:
    values = np.concatenate([np.linspace(0, 1, 100_000), [50.0] * 5])
    assert from_histogram(histogram(values, 50.0), 50.0, "hist") == pytest.approx(1.0, abs=50 / BINS)


@pytest.mark.parametrize("algorithm", ["mse", "KL"])
def test_a_long_tail_is_clipped_where_that_helps(algorithm: str) -> None:
    values = np.random.default_rng(0).laplace(size=200_000)
    largest = float(np.abs(values).max())
    chosen = from_histogram(histogram(values, largest), largest, algorithm)
    assert chosen < largest
    assert quantization_error(values, chosen) < quantization_error(values, largest)


def test_mse_finds_the_least_error() -> None:
    values = np.random.default_rng(1).standard_normal(100_000)
    largest = float(np.abs(values).max())
    chosen = from_histogram(histogram(values, largest), largest, "mse")
    candidates = [quantization_error(values, share * largest) for share in np.linspace(0.3, 1, 71)]
    assert quantization_error(values, chosen) <= min(candidates) * 1.01


def test_every_algorithm_has_a_name_for_the_options() -> None:
    assert (tuple(MAXIMA), tuple(HISTOGRAMS)) == (OF_MAXIMA, OF_HISTOGRAMS)


@pytest.mark.parametrize("algorithm", HISTOGRAMS)
def test_an_activation_that_is_always_zero(algorithm: str) -> None:
    assert from_histogram(np.zeros(BINS, np.int64), 0.0, algorithm) == 0.0
