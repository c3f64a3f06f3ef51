"""From what each layer took in each run to where the time goes: by group, by kind, by shape, beside the peak.

A layer's time is its median over the runs, and the time of a group is the sum of its layers'. ``of_peak`` is the share
of the machine's arithmetic peak that the convolutions reach: in each round the least time that their multiply-adds
need at the peak of that round / the time of each one's fastest run; of the rounds, the median. The peak is that of a
kernel's fastest run too, so other processes do not count as a layer's fault.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from stages.backends.profiled import Profiled, ProfiledLayer
from stages.profiling.groups import GROUPS, groups_of

UNKNOWN_PEAK = 0.02
"""Share of the convolutions' time in number formats without a measured peak from which on there is no ``of_peak``."""


@dataclass(frozen=True)
class Turn:
    """One round: which runs of the session were its, and multiply-adds a second of each number format just before."""

    runs: range
    rates: Mapping[str, float]


@dataclass(frozen=True)
class _Timed:
    """A layer that took time."""

    layer: ProfiledLayer
    group: str
    ms: float
    rounds: list[float]
    """The fastest run of each round, milliseconds."""


def summarise(profiled: Profiled, turns: Sequence[Turn]) -> dict[str, Any]:
    """Where the time goes: ``sum_ms``, ``layers``, ``groups``, ``kinds``, ``shapes``, ``of_peak``, ``peak``.

    ``layers`` and what is made of them are in descending order of their time; ``share`` is of ``sum_ms``.
    """
    timed = _timed(profiled, turns)
    total = sum(one.ms for one in timed)

    def share(ms: float) -> float:
        return ms / total if total else 0.0

    by_group: dict[str, list[_Timed]] = {name: [] for name in GROUPS}
    by_kind: dict[str, list[_Timed]] = defaultdict(list)
    for one in timed:
        by_group[one.group].append(one)
        by_kind[one.layer.kind or one.group].append(one)
    formats = dict.fromkeys(name for turn in turns for name in turn.rates)
    products = [one for one in timed if one.layer.multiply_adds is not None]
    return {
        "sum_ms": total,
        "groups": {
            name: {"ms": _sum(of), "share": share(_sum(of)), "layers": len(of)} for name, of in by_group.items() if of
        },
        "kinds": {
            name: {"ms": _sum(of), "share": share(_sum(of)), "layers": len(of)}
            for name, of in sorted(by_kind.items(), key=lambda item: -_sum(item[1]))
        },
        "convolutions": {
            "ms": _sum(products),
            "share": share(_sum(products)),
            "layers": len(products),
            "multiply_adds": sum(one.layer.multiply_adds or 0 for one in products),
            "of_peak": _of_peak(products, turns),
        },
        "shapes": _shapes(products, turns, share),
        "peak": {name: median(turn.rates[name] for turn in turns) for name in formats},
        "layers": [
            {
                "name": one.layer.name,
                "kind": one.layer.kind,
                "group": one.group,
                "ms": one.ms,
                "share": share(one.ms),
                **({"shape": one.layer.shape, "format": one.layer.number_format} if one.layer.shape else {}),
            }
            for one in timed
        ],
    }


def _timed(profiled: Profiled, turns: Sequence[Turn]) -> list[_Timed]:
    """The layers that took time, the longest first. One that some run left out took nothing in it."""
    found = []
    for layer, group in zip(profiled.layers, groups_of(profiled), strict=True):
        rounds = [[layer.ms[n] if n < len(layer.ms) else 0.0 for n in turn.runs] for turn in turns]
        whole = [ms for of in rounds for ms in of]
        if any(whole):
            found.append(_Timed(layer, group, median(whole), [min(of) for of in rounds]))
    return sorted(found, key=lambda one: -one.ms)


def _sum(timed: Sequence[_Timed]) -> float:
    return sum(one.ms for one in timed)


def _shapes(products: Sequence[_Timed], turns: Sequence[Turn], share: Callable[[float], float]) -> list[dict[str, Any]]:
    """Convolutions of one shape and number format together."""
    alike: dict[tuple[str, str], list[_Timed]] = defaultdict(list)
    for one in products:
        alike[one.layer.shape, one.layer.number_format or ""].append(one)
    return [
        {
            "shape": shape,
            "format": number_format,
            "layers": len(of),
            "ms": _sum(of),
            "share": share(_sum(of)),
            "multiply_adds": sum(one.layer.multiply_adds or 0 for one in of),
            "of_peak": _of_peak(of, turns),
        }
        for (shape, number_format), of in sorted(alike.items(), key=lambda item: -_sum(item[1]))
    ]


def _of_peak(products: Sequence[_Timed], turns: Sequence[Turn]) -> float | None:
    """Of some convolutions; ``None`` where the peak of what they compute in was not measured."""
    ratios = []
    for number, turn in enumerate(turns):
        known = [one for one in products if turn.rates.get(one.layer.number_format or "")]
        took, all_took = (sum(one.rounds[number] for one in of) for of in (known, products))
        if not took or took < (1 - UNKNOWN_PEAK) * all_took:
            return None
        needed = sum((one.layer.multiply_adds or 0) / turn.rates[one.layer.number_format or ""] for one in known)
        ratios.append(1e3 * needed / took)
    return median(ratios) if ratios else None
