"""Which gates on speed a timing leaves undecided: those whose limit lies within the interval of the speed-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stages.latency.validity import VALID

Ratios = Mapping[str, Mapping[str, Any]]
"""``over_fp32.int8.runtime``, ``over_best_float.int8.end2end``, ``against.champion.runtime`` -> the ratio."""


def named(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every ratio of ``latency.json`` by its name."""
    return {
        f"{kind}.{name}.{mode}": ratio
        for kind in ("over_fp32", "over_best_float", "against")
        for name, of_mode in result.get(kind, {}).items()
        for mode, ratio in of_mode.items()
    }


def intervals(ratios: Ratios) -> dict[str, list[float]]:
    """[low, high] of each ratio that is valid."""
    return {
        name: [ratio["low"], ratio["high"]]
        for name, ratio in ratios.items()
        if ratio["verdict"] == VALID and ratio["low"] is not None
    }


def undecided(found: Mapping[str, Sequence[float]], limits: Mapping[str, float], engines: Sequence[str]) -> list[str]:
    """The names of the ratios whose interval straddles their limit.

    Args:
        found: intervals by name (see `intervals`).
        limits: see `stages.options.latency.LatencyOptions`.
        engines: the names of those that the gates judge.
    """
    wanted: list[tuple[str, float]] = []
    for key, limit in limits.items():
        kind, _, mode = key.rpartition(".")
        beside = kind.startswith("against.")
        wanted += [(key, limit)] if beside else [(f"{kind}.{name}.{mode}", limit) for name in engines]
    return [name for name, limit in wanted if name in found and found[name][0] < limit <= found[name][1]]
