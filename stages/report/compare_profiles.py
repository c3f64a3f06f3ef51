"""Two runs against each other by where the time of their engines goes: which layers became longer or shorter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from stages.report import marks
from stages.report.compare_runs import apart_by
from stages.report.profiles import TITLES, marked
from stages.report.schema import ReportContent
from stages.report.schema_profile import EngineProfile, Part
from stages.report.tables import engine_name

LEAST = 0.02
"""Share of the longer of the two sums by which a group has to differ to be told."""
MOST_KINDS = 4


class Moved(TypedDict):
    """What a group, or a kind, takes in two runs: milliseconds, and share of the sum of the layers."""

    name: str
    first_ms: float
    second_ms: float
    first_share: float
    second_share: float


class ProfileChange(TypedDict):
    """One engine in two runs. ``groups`` and ``kinds`` are those that differ, the largest difference first."""

    backend: str
    precision: str
    first_ms: float
    second_ms: float
    groups: list[Moved]
    kinds: list[Moved]
    of_peak: list[float | None]
    apart: str
    """What stands between the times ("another machine", "another day"): shares are compared then; empty if nothing."""
    valid: bool


def compare_profiles(first: ReportContent, second: ReportContent) -> list[ProfileChange]:
    """What differs, for each engine that was profiled in both."""
    apart = apart_by(first, second)
    others = {(one["backend"], one["precision"]): one for one in _engines(second)}
    return [
        _change(one, other, apart)
        for one in _engines(first)
        if (other := others.get((one["backend"], one["precision"]))) is not None
    ]


def sentences(first: ReportContent, second: ReportContent) -> list[str]:
    """What differs in words, a sentence an engine; what cannot be compared is said."""
    missing = [report["run_id"] for report in (first, second) if not _engines(report)]
    if len(missing) == 1:
        return [f"{missing[0]} has no profile, so no layers are compared"]
    return [words(change) for change in compare_profiles(first, second)]


def words(change: ProfileChange) -> str:
    """``onnxruntime INT8: convolutions 251.0 → 190.0 ms (QLinearConv 251.0 → 190.0), activations 35.0 → 0.0 ms``."""
    star = "" if change["valid"] else marks.STAR
    name = engine_name(change["backend"], change["precision"]) + star
    by_share = bool(change["apart"])
    groups = [f"{TITLES.get(one['name'], one['name']).lower()} {_moved(one, by_share)}" for one in change["groups"]]
    kinds = [f"{one['name']} {_moved(one, by_share)}" for one in change["kinds"][:MOST_KINDS]]
    said = ", ".join(groups) if groups else f"no group of layers differs by more than {LEAST:.0%} of the time"
    detail = f" ({', '.join(kinds)})" if kinds and groups else ""
    before, after = change["of_peak"]
    peak = "" if before is None or after is None else f"; convolutions reach {before:.0%} → {after:.0%} of the peak"
    note = f" [{change['apart']}: shares, not times]" if by_share else ""
    return f"{name}, by layer: {said}{detail}{peak}{note}"


def _engines(report: ReportContent) -> list[EngineProfile]:
    profiles = report.get("profiles")
    return profiles["engines"] if profiles else []


def _change(one: EngineProfile, other: EngineProfile, apart: str) -> ProfileChange:
    longest = max(one["sum_ms"], other["sum_ms"])
    return {
        "backend": one["backend"],
        "precision": one["precision"],
        "first_ms": one["sum_ms"],
        "second_ms": other["sum_ms"],
        "groups": _differing(one["groups"], other["groups"], longest, bool(apart)),
        "kinds": _differing(one["kinds"], other["kinds"], longest, bool(apart)),
        "of_peak": [of["convolutions"]["of_peak"] for of in (one, other)],
        "apart": apart,
        "valid": all(marks.is_valid(marked(of["verdict"])) for of in (one, other)),
    }


def _differing(first: Mapping[str, Part], second: Mapping[str, Part], longest: float, by_share: bool) -> list[Moved]:
    nothing: Part = {"ms": 0.0, "share": 0.0, "layers": 0}
    found = []
    for name in dict.fromkeys((*first, *second)):
        before, after = first.get(name, nothing), second.get(name, nothing)
        by = after["share"] - before["share"] if by_share else (after["ms"] - before["ms"]) / (longest or 1.0)
        if abs(by) >= LEAST:
            moved: Moved = {
                "name": name,
                "first_ms": before["ms"],
                "second_ms": after["ms"],
                "first_share": before["share"],
                "second_share": after["share"],
            }
            found.append((abs(by), moved))
    return [moved for _, moved in sorted(found, key=lambda one: -one[0])]


def _moved(one: Moved, by_share: bool) -> str:
    if by_share:
        return f"{one['first_share']:.1%} → {one['second_share']:.1%}"
    return f"{one['first_ms']:.1f} → {one['second_ms']:.1f} ms"
