"""Ranges of activations, observed while a program runs over images.

Maxima and histograms are taken inside the graph: the activations themselves, gigabytes for a large model, never leave
it. Variables have the batch as their first dimension. The programs are float ones, for the sake of speed: Paddle's own
execution of a quantized program is several times slower, and the ranges are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from stages.numerics.ranges import BINS, HISTOGRAMS, from_histogram, from_maxima
from stages.paddle.runtime.execution import Runner
from stages.paddle.runtime.program import Program, extend

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]


def find_ranges(
    program: Program, names: Sequence[str], batches: Callable[[], Iterable[Feeds]], algorithm: str, threads: int
) -> dict[str, float]:
    """Name -> range by one of ``stages.numerics.algorithms.ALGORITHMS``; histograms take a second pass."""
    return find_all_ranges(program, names, batches, [algorithm], threads)[algorithm]


def find_all_ranges(
    program: Program,
    names: Sequence[str],
    batches: Callable[[], Iterable[Feeds]],
    algorithms: Sequence[str],
    threads: int,
) -> dict[str, dict[str, float]]:
    """Algorithm -> name -> range, of one observation: maxima, and histograms where an algorithm needs them."""
    maxima = observe(program, names, batches(), threads)
    counts: dict[str, Array] = {}
    largest = {name: float(values.max()) for name, values in maxima.items()}
    if any(algorithm in HISTOGRAMS for algorithm in algorithms):
        counts = _histograms(program, largest, batches(), threads)
    return {
        algorithm: {name: from_histogram(counts[name], largest[name], algorithm) for name in names}
        if algorithm in HISTOGRAMS
        else {name: from_maxima(values, algorithm) for name, values in maxima.items()}
        for algorithm in algorithms
    }


def observe(program: Program, names: Sequence[str], batches: Iterable[Feeds], threads: int) -> dict[str, Array]:
    """Name -> largest absolute value in each image, float32 [images], in the order of the batches."""

    def maximum(name: str, magnitude: Any) -> Any:
        axes = list(range(1, len(magnitude.shape)))
        return paddle.max(magnitude, axis=axes) if axes else magnitude

    seen = _run(program, names, maximum, batches, threads)
    return {name: np.concatenate([np.atleast_1d(v) for v in values]) for name, values in seen.items()}


def channel_maxima(program: Program, names: Sequence[str], batches: Iterable[Feeds], threads: int) -> dict[str, Array]:
    """Name -> largest absolute value of each channel over all images, float32 [channels], of tensors [B, C, h, w]."""
    seen = _run(program, names, lambda name, magnitude: paddle.max(magnitude, axis=[0, 2, 3]), batches, threads)
    return {name: np.max(values, axis=0).reshape(-1) for name, values in seen.items()}


def _histograms(
    program: Program, largest: Mapping[str, float], batches: Iterable[Feeds], threads: int
) -> dict[str, Array]:
    """Name -> counts int64 [BINS] of absolute values between 0 and the given largest one."""

    def histogram(name: str, magnitude: Any) -> Any:
        # The operator's limits are integers, so the values are scaled to [0, BINS].
        scale = BINS / largest[name] if largest[name] > 0 else 1.0
        return paddle.histogram(magnitude * scale, bins=BINS, min=0, max=BINS)

    seen = _run(program, list(largest), histogram, batches, threads)
    return {name: np.sum(values, axis=0) for name, values in seen.items()}


def _run(
    program: Program,
    names: Sequence[str],
    statistic: Callable[[str, Any], Any],
    batches: Iterable[Feeds],
    threads: int,
) -> dict[str, list[Array]]:
    """Name -> the statistic of its absolute values in each batch."""
    pruned = program.prune(names)
    with extend(pruned.desc, "observed"):
        results = [statistic(name, paddle.abs(pruned.block.var(name))) for name in names]
    runner = Runner(pruned.desc, threads)
    seen: dict[str, list[Array]] = {name: [] for name in names}
    for feeds in batches:
        values = runner.run({name: feeds[name] for name in pruned.feeds}, results)
        for name, value in zip(names, values, strict=True):
            seen[name].append(value)
    return seen
