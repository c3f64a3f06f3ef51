"""Whether the ratio of two engines' times can be believed: a verdict of its own, by evidence of its own.

What slows both engines down alike, a clock that falls or another process on their CPUs, spoils both times and leaves
their ratio, since they are timed in turns. So a ratio may be valid where neither time is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.latency import gpu
from stages.latency.timing import Series, speedup
from stages.latency.validity import LEAST, SLOWER_CLOCK, Limits, evidence_of, taken_by_others, verdict_of

LEAST_ROUNDS = 2
"""Rounds that an interval needs."""
LEAST_SECONDS = 0.1
"""Below it, reading the counters costs a noticeable part of an engine's processor time."""


def judged(base: Series, other: Series, cpus: Sequence[int], limits: Limits) -> dict[str, Any]:
    """How many times faster ``other`` is than ``base`` (see `stages.latency.timing.speedup`), with a verdict.

    Where other processes took more than ``limits.foreign`` of the CPUs' time from one of the two, the ratio of their
    processor times, which those cannot stretch, is the witness: if the ratio by the clock is as far from it as that
    limit, one engine was held up more than the other. If it is nearer, the interval is widened to hold both. Below
    that limit it is widened by what the two shares themselves differ in.

    Returns:
        as `speedup`, ``verdict`` (``valid`` or ``invalid: why``), ``by_cpu`` (the ratio by processor time; ``None``
        where it is not known or says nothing, as on a GPU) and ``taken`` (the larger share of the CPUs' time that
        other processes took from one of the two).
    """
    ratio = speedup(base, other)
    evidence = [evidence_of(series, max(1, len(cpus))) for series in (base, other)]
    on_gpu = [each["gpu"] for each in evidence if each["gpu"] is not None]
    by_cpu = None if on_gpu else _by_processor_time(base, other)
    shares = [taken_by_others(each) for each in evidence]
    taken = max(shares)
    reasons = []
    if (count := min(base.all().size, other.all().size)) < LEAST:
        reasons.append(f"too few samples ({count}, the median needs {LEAST})")
    if len(ratio["rounds"]) < LEAST_ROUNDS:
        reasons.append(f"too few rounds ({len(ratio['rounds'])}, an interval needs {LEAST_ROUNDS})")
    if (slower := _one_sided_clock(base, other)) > SLOWER_CLOCK:
        reasons.append(f"the CPU's clock was {1 - 1 / slower:.0%} lower in the turns of one engine")
    if on_gpu:
        found = [reason for each in on_gpu for reason in gpu.reasons(each, limits.foreign, SLOWER_CLOCK)]
        reasons += dict.fromkeys(found)
    if taken > limits.foreign:
        if by_cpu is None:
            reasons.append(
                f"other processes took {taken:.0%} of the CPU's time, and nothing shows that both lost alike"
            )
        elif math.expm1(abs(math.log(ratio["median"] / by_cpu))) > limits.foreign:
            both = f"{ratio['median']:.2f} by the clock, {by_cpu:.2f} by processor time"
            reasons.append(f"other processes held up one engine more than the other ({both})")
        else:
            _hold(ratio, by_cpu)
    else:
        _hold(ratio, ratio["median"] * (1 - shares[0]) / (1 - shares[1]))
    return {**ratio, "verdict": verdict_of(reasons), "by_cpu": by_cpu, "taken": taken}


def _hold(ratio: dict[str, Any], value: float) -> None:
    """Widen the interval so that it holds ``value`` too."""
    if ratio["low"] is not None:
        ratio["low"], ratio["high"] = min(ratio["low"], value), max(ratio["high"], value)


def _by_processor_time(base: Series, other: Series) -> float | None:
    """The geometric mean of the rounds' ratios of processor time per run."""
    logs = []
    for mine, own in zip(base.blocks, other.blocks, strict=True):
        if not (mine.samples and own.samples):
            continue
        if mine.usage is None or own.usage is None or min(mine.usage.cpu_s, own.usage.cpu_s) <= 0:
            return None
        logs.append(math.log(mine.usage.cpu_s / len(mine.samples) / (own.usage.cpu_s / len(own.samples))))
    seconds = [sum(block.usage.cpu_s for block in series.blocks if block.usage) for series in (base, other)]
    return math.exp(float(np.mean(logs))) if logs and min(seconds) >= LEAST_SECONDS else None


def _one_sided_clock(base: Series, other: Series) -> float:
    """How many times slower the fixed piece of work was in the turns of one engine; 1 where it is not known.

    The median of the rounds, round by round: a clock that drifts, or falls for good, is another in another round.
    """
    logs = [
        math.log(mine.usage.probe_s / own.usage.probe_s)
        for mine, own in zip(base.blocks, other.blocks, strict=True)
        if mine.usage and own.usage and mine.usage.probe_s and own.usage.probe_s
    ]
    return math.exp(abs(float(np.median(logs)))) if logs else 1.0
