"""Two runs against each other: what differs, and by more than chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.detection.matching import Matches
from stages.numerics.student_t import student
from stages.report.rows import MODES, Row
from stages.report.tables import COLUMNS, MODE_NAMES, Table

DRAWS = 1000
Load = Callable[[Row], Matches | None]
"""The matches of a report's row, if they still exist."""


def stored(store: Path) -> Load:
    """Reads matches from the results of earlier runs, ``store/STAGE/KEY/files``."""

    def load(row: Row) -> Matches | None:
        path = store / row["matches"] / "files" / "matches.npz" if row.get("matches") else None
        return Matches.load(path) if path is not None and path.is_file() else None

    return load


def compare(first: Mapping[str, Any], second: Mapping[str, Any], load: Load) -> list[dict[str, Any]]:
    """What changed from the first report to the second, for each engine that both have.

    A change::

        backend, precision, what     "runtime", "end2end", "speedup" (Runtime) or "map"
        first, second                the numbers; either may be null
        change, low, high            second / first (second - first of "map") with a 95 % interval, null where there is
                                     too little to tell
        verdict                      "faster", "slower", "higher", "lower", "no difference shown", or null
        valid                        whether both timings are; null of "map"
    """
    others = {(row["backend"], row["precision"]): row for row in second["rows"]}
    changes = []
    for row in first["rows"]:
        other = others.get((row["backend"], row["precision"]))
        if other is None:
            continue
        named = {"backend": row["backend"], "precision": row["precision"]}
        for mode in MODES:
            if row["latency"][mode] and other["latency"][mode]:
                changes.append({**named, "what": mode, **_latency(row, other, mode)})
        if row["speedup"]["runtime"] and other["speedup"]["runtime"]:
            changes.append({**named, "what": "speedup", **_speedup(row, other)})
        if row["map"] is not None and other["map"] is not None:
            changes.append({**named, "what": "map", **_map(row, other, load)})
    return changes


def table(changes: Sequence[Mapping[str, Any]]) -> Table:
    """The changes in words."""
    names = {**{m: f"{n} latency, ms" for m, n in MODE_NAMES.items()}, "speedup": "Speed-up", "map": "mAP"}
    rows = []
    for c in changes:
        digits = 1 if c["what"] == "map" else 2
        star = "" if c["valid"] in (None, True) else "*"
        change = f"{c['change']:+.1f}" if c["what"] == "map" else f"{c['change']:.3f}×"
        bounds = "None"
        if c["low"] is not None:
            form = "+.1f" if c["what"] == "map" else ".3f"
            bounds = f"{c['low']:{form}} to {c['high']:{form}}"
        rows.append(
            [
                f"{c['backend']} {COLUMNS.get(c['precision'], c['precision'])}",
                names[c["what"]],
                f"{c['first']:.{digits}f}",
                f"{c['second']:.{digits}f}",
                change + star,
                bounds,
                c["verdict"] or "None",
            ]
        )
    return Table("What changed", ["Engine", "Number", "First", "Second", "Change", "95 %", "Verdict"], rows)


def _latency(row: Row, other: Row, mode: str) -> dict[str, Any]:
    a, b = row["latency"][mode], other["latency"][mode]
    told = ratio(a["median_ms"], a.get("rounds_ms") or [], b["median_ms"], b.get("rounds_ms") or [])
    verdict = _verdict(told, 1.0, "slower", "faster")
    valid = _valid(row, other, mode)
    return {"first": a["median_ms"], "second": b["median_ms"], **told, "verdict": verdict, "valid": valid}


def _speedup(row: Row, other: Row) -> dict[str, Any]:
    """From the two intervals: their half-widths on a log scale add like independent errors."""
    first, second = row["speedup"]["runtime"], other["speedup"]["runtime"]
    bounds = [r["speedup_interval"]["runtime"] for r in (row, other)]
    told: dict[str, Any] = {"change": second / first, "low": None, "high": None}
    if all(bounds):
        spread = math.hypot(*(math.log(high / low) / 2 for low, high in bounds))
        told |= {"low": told["change"] * math.exp(-spread), "high": told["change"] * math.exp(spread)}
    verdict = _verdict(told, 1.0, "higher", "lower")
    return {"first": first, "second": second, **told, "verdict": verdict, "valid": _valid(row, other, "runtime")}


def _map(row: Row, other: Row, load: Load) -> dict[str, Any]:
    """Paired over the images if both runs scored the same ones and their matches are still there."""
    told: dict[str, Any] = {"change": other["map"] - row["map"], "low": None, "high": None}
    a, b = load(row), load(other)
    if a is not None and b is not None and _same_images(a, b):
        from stages.detection.differences import differ

        found = differ(a, b, DRAWS, seed=0, threads=1)[0]["map"]
        if found is not None:
            told |= {"low": found["low"], "high": found["high"]}
    verdict = _verdict(told, 0.0, "higher", "lower")
    return {"first": row["map"], "second": other["map"], **told, "verdict": verdict, "valid": None}


def ratio(first: float, first_rounds: Sequence[float], second: float, second_rounds: Sequence[float]) -> dict[str, Any]:
    """``second / first`` of two medians, with Welch's interval on the logarithms of the rounds' medians."""
    told: dict[str, Any] = {"change": second / first, "low": None, "high": None}
    if min(len(first_rounds), len(second_rounds)) < 2:
        return told
    parts = [float(np.var(np.log(r), ddof=1)) / len(r) for r in (first_rounds, second_rounds)]
    total = sum(parts)
    if total == 0:
        return {**told, "low": told["change"], "high": told["change"]}
    counts = (len(first_rounds) - 1, len(second_rounds) - 1)
    freedom = total**2 / sum(part**2 / count for part, count in zip(parts, counts, strict=True))
    spread = student(max(1, int(freedom))) * math.sqrt(total)
    return {**told, "low": told["change"] * math.exp(-spread), "high": told["change"] * math.exp(spread)}


def _verdict(told: Mapping[str, Any], nothing: float, above: str, below: str) -> str | None:
    if told["low"] is None:
        return None
    if told["low"] > nothing:
        return above
    return below if told["high"] < nothing else "no difference shown"


def _valid(row: Row, other: Row, mode: str) -> bool:
    return all(r["validity"][mode] in (None, "valid") for r in (row, other))


def _same_images(a: Matches, b: Matches) -> bool:
    return np.array_equal(a.image_ids, b.image_ids) and np.array_equal(a.truth_image, b.truth_image)
