"""Whether a timing can be believed: ``valid``, or ``invalid: why``, for each number that a report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.latency import gpu
from stages.latency.timing import Series

VALID = "valid"
BEYOND = 10
"""Samples that have to lie beyond a percentile: with fewer, a few outliers more or less decide it."""
LEAST = 10
"""Samples that a median needs."""
SLOWER_CLOCK = 1.15
"""A fixed piece of work that took this many times its shortest time: the CPU's clock fell."""
PERCENTILES: dict[str, float] = {"p90_ms": 0.90, "p95_ms": 0.95, "p99_ms": 0.99}


@dataclass(frozen=True)
class Limits:
    """See `stages.options.LatencySettings`."""

    foreign: float
    drift: float


def verdict(series: Series, cpus: Sequence[int], limits: Limits) -> dict[str, Any]:
    """The verdicts of one engine and mode.

    Returns:
        ``verdict`` (of the median and all that rests on it), ``cells`` (of each percentile), and what they rest on:
        ``foreign_share`` and ``waited_share`` (of the CPU time that was ours to use), ``drift`` (largest difference of
        two rounds' medians, relative), ``clock_drop`` (ratio), ``involuntary_switches``, ``gpu`` (see
        `stages.latency.gpu`); ``None`` where unknown.
    """
    count = series.all().size
    evidence = evidence_of(series, max(1, len(cpus)))
    reasons = []
    if count < LEAST:
        reasons.append(f"too few samples ({count}, the median needs {LEAST})")
    if (taken := taken_by_others(evidence)) > limits.foreign:
        reasons.append(f"CPU shared with the load of other processes ({taken:.0%} of its time)")
    if evidence["clock_drop"] is not None and evidence["clock_drop"] > SLOWER_CLOCK:
        reasons.append(f"throttling (the CPU slowed down by {1 - 1 / evidence['clock_drop']:.0%} at times)")
    if evidence["drift"] is not None and evidence["drift"] > limits.drift:
        reasons.append(f"drift between rounds ({evidence['drift']:.0%})")
    if evidence["gpu"] is not None:
        reasons += gpu.reasons(evidence["gpu"], limits.foreign, SLOWER_CLOCK)
    cells = {}
    for name, share in PERCENTILES.items():
        needed = round(BEYOND / (1 - share))
        few = [f"too few samples ({count}, {name.removesuffix('_ms')} needs {needed})"] if count < needed else []
        cells[name] = verdict_of(few + reasons)
    return {"verdict": verdict_of(reasons), "cells": cells, **evidence}


def is_disturbed(verdict: str) -> bool:
    """Whether something disturbed the timing, so that measuring again may help: not if it was meant to be short."""
    reasons = verdict.removeprefix("invalid: ").split("; ")
    return verdict != VALID and any(not reason.startswith("too few ") for reason in reasons)


def verdict_of(reasons: list[str]) -> str:
    """``valid`` without a reason against it."""
    return f"invalid: {'; '.join(reasons)}" if reasons else VALID


def taken_by_others(evidence: Mapping[str, Any]) -> float:
    """The share of the time of its CPUs that an engine did not get; 0 where nothing is known of it."""
    return max((s for s in (evidence["foreign_share"], evidence["waited_share"]) if s is not None), default=0.0)


def evidence_of(series: Series, cpus: int) -> dict[str, Any]:
    """What a verdict rests on (see `verdict`), of an engine on so many CPUs."""
    usages = [block.usage for block in series.blocks if block.usage is not None]
    wall = sum(u.wall_s for u in usages)
    foreign = [u.foreign_s for u in usages if u.foreign_s is not None]
    waited = [u.waited_s for u in usages if u.waited_s is not None]
    probes = [u.probe_s for u in usages if u.probe_s is not None]
    switches = [u.involuntary for u in usages if u.involuntary is not None]
    energy = [u.energy_j for u in usages if u.energy_j is not None]
    gpu_energy = [u.gpu_energy_j for u in usages if u.gpu_energy_j is not None]
    medians = [float(np.median(part)) for part in series.samples if part]
    runs = series.all().size
    return {
        # /proc/stat counts in hundredths of a second: over less than half a second it says nothing.
        "foreign_share": sum(foreign) / (wall * cpus) if foreign and wall >= 0.5 else None,
        "waited_share": sum(waited) / (wall * cpus) if waited and wall > 0 else None,
        "drift": (max(medians) - min(medians)) / min(medians) if len(medians) > 1 and min(medians) > 0 else None,
        "clock_drop": max(probes) / min(probes) if len(probes) > 1 else None,
        "involuntary_switches": sum(switches) if switches else None,
        "energy_mj": 1e3 * sum(energy) / runs if energy and len(energy) == len(series.blocks) else None,
        "gpu_energy_mj": 1e3 * sum(gpu_energy) / runs if gpu_energy and len(gpu_energy) == len(series.blocks) else None,
        "gpu": gpu.evidence(seen) if (seen := [u.gpu for u in usages if u.gpu is not None]) else None,
    }
