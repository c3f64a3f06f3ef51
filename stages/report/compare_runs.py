"""Two runs against each other: what differs, and by more than chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Optional, TypedDict

from stages.numerics.student_t import student
from stages.outside import names
from stages.report import marks, points
from stages.report.rows import MODES
from stages.report.schema import ReportContent, Row
from stages.report.schema_engines import ModeLatency
from stages.report.tables import MODE_NAMES, NOTHING, Table, engine_name

if TYPE_CHECKING:
    from stages.detection.matching import Matches

DRAWS = 1000
_DAY = len("20260101")  # what a run's id begins with
Load = Callable[[Row], Optional["Matches"]]  # numpy and what it is made of are loaded by who reads some
"""The matches of a report's row, if they still exist."""


class Interval(TypedDict):
    """A change and its 95 % interval; null bounds where there is too little to tell."""

    change: float
    low: float | None
    high: float | None


class Change(Interval):
    """One number of one engine in two runs."""

    backend: str
    precision: str
    what: str
    """"runtime", "end2end", "speedup" and "over_float" (both of Runtime) or "map"."""
    first: float
    second: float
    verdict: str | None
    """"faster", "slower", "higher", "lower", "no difference shown"; "not comparable: ..." of ratios that were measured
    while disturbed, and of times of two machines or two days; null without an interval."""
    valid: bool | None
    """Whether both timings, or both ratios, are; null of "map"."""


def stored(store: Path) -> Load:
    """Reads matches from the results of earlier runs, ``store/STAGE/KEY/files``."""

    def load(row: Row) -> Matches | None:
        from stages.detection.matching import Matches

        path = matches_file(store, row.get("matches"))
        return Matches.load(path) if path is not None and path.is_file() else None

    return load


def matches_file(store: Path, key: object) -> Path | None:
    """Where a row's ``matches`` are, or were before somebody removed them."""
    path = names.inside(store, names.entry(key, "report.json", "matches"), store, "matches") if key else None
    return path and path / "files" / "matches.npz"


def compare(first: ReportContent, second: ReportContent, load: Load) -> list[Change]:
    """What changed from the first report to the second, for each engine that both have.

    ``change`` is second / first, of "map" second - first. Times of two machines, or of two days, are shown and not
    compared: there only ratios tell of the engines, since both of their sides were timed in turns.
    """
    apart = apart_by(first, second)
    others = {(row["backend"], row["precision"]): row for row in second["rows"]}
    changes: list[Change] = []
    for row in first["rows"]:
        other = others.get((row["backend"], row["precision"]))
        if other is None:
            continue
        for mode in MODES:
            a, b = row["latency"][mode], other["latency"][mode]
            if a and b:
                changes.append(_latency(row, other, mode, a, b, apart))
        before, after = row["speedup"]["runtime"], other["speedup"]["runtime"]
        if before and after:
            bounds = [r["speedup_interval"]["runtime"] for r in (row, other)]
            verdicts = [marks.speedup(r, "runtime") for r in (row, other)]
            changes.append(_speedup(row, other, "speedup", before, after, bounds, verdicts))
        over = [(r.get("over_float") or {}).get("runtime") for r in (row, other)]
        if over[0] and over[1] and over[0]["against"] == over[1]["against"]:
            bounds = [None if o["low"] is None or o["high"] is None else [o["low"], o["high"]] for o in over if o]
            medians, verdicts = [o["median"] for o in over if o], [marks.over_float(r, "runtime") for r in (row, other)]
            changes.append(_speedup(row, other, "over_float", medians[0], medians[1], bounds, verdicts))
        if row["map"] is not None and other["map"] is not None:
            changes.append(_map(row, other, row["map"], other["map"], load))
    return changes


def table(changes: Sequence[Change]) -> Table:
    """The changes in words."""
    names = {
        **{m: f"{n} latency, ms" for m, n in MODE_NAMES.items()},
        "speedup": "Speed-up",
        "over_float": "Over best float",
        "map": "mAP",
    }
    rows = []
    for c in changes:
        digits = 1 if c["what"] == "map" else 2
        star = "" if c["valid"] in (None, True) else marks.STAR
        moved = points.change(c["first"], c["second"])
        change = points.signed(moved) if c["what"] == "map" else f"{c['change']:.3f}×"
        bounds = NOTHING
        if c["low"] is not None and c["high"] is not None:
            is_map = c["what"] == "map"
            bounds = points.between(moved, c["low"], c["high"]) if is_map else f"{c['low']:.3f} to {c['high']:.3f}"
        rows.append(
            [
                engine_name(c["backend"], c["precision"]),
                names[c["what"]],
                f"{c['first']:.{digits}f}",
                f"{c['second']:.{digits}f}",
                change + star,
                bounds,
                c["verdict"] or NOTHING,
            ]
        )
    return Table("What changed", ["Engine", "Number", "First", "Second", "Change", "95 %", "Verdict"], rows)


def apart_by(first: ReportContent, second: ReportContent) -> str:
    """What stands between the timings of two reports, in words; empty if they are of one machine and one day."""
    if first["hardware"] != second["hardware"]:
        return "another machine"
    made = [set(days(report)) for report in (first, second)]
    dated = all(day.isdigit() for day in made[0] | made[1])
    return "another day" if dated and made[0] != made[1] else ""


def days(report: ReportContent) -> list[str]:
    """The days of the runs that a report's timings come from, as a run's id begins with."""
    runs = list((report.get("timed_in") or {}).values()) or [report["run_id"]]
    return sorted({run[:_DAY] for run in runs})


def _latency(row: Row, other: Row, mode: str, first: ModeLatency, second: ModeLatency, apart: str) -> Change:
    rounds = [latency.get("rounds_ms") or [] for latency in (first, second)]
    interval = ratio(first["median_ms"], rounds[0], second["median_ms"], rounds[1])
    valid = all(marks.is_valid(marks.timing(r, mode)) for r in (row, other))
    verdict = _verdict(interval, 1.0, "slower", "faster")
    return {
        **_named(row, mode, first["median_ms"], second["median_ms"]),
        **interval,
        "verdict": _comparable(f"{apart}, see the speed-up" if apart else "" if valid else marks.DISTURBED, verdict),
        "valid": valid,
    }


def _comparable(problem: str, verdict: str | None) -> str | None:
    return f"not comparable: {problem}" if problem else verdict


def _speedup(
    row: Row,
    other: Row,
    what: str,
    first: float,
    second: float,
    intervals: Sequence[list[float] | None],
    verdicts: Sequence[str | None],
) -> Change:
    """From the two intervals: their half-widths on a log scale add like independent errors (in squares)."""
    interval: Interval = {"change": second / first, "low": None, "high": None}
    bounds = [each for each in intervals if each]
    if len(bounds) == 2:
        spread = math.hypot(*(math.log(high / low) / 2 for low, high in bounds))
        interval["low"], interval["high"] = (
            interval["change"] * math.exp(-spread),
            interval["change"] * math.exp(spread),
        )
    valid = all(map(marks.is_valid, verdicts))
    verdict = _verdict(interval, 1.0, "higher", "lower")
    return {
        **_named(row, what, first, second),
        **interval,
        "verdict": _comparable("" if valid else marks.DISTURBED, verdict),
        "valid": valid,
    }


def _map(row: Row, other: Row, first: float, second: float, load: Load) -> Change:
    """Paired over the images if both runs scored the same ones and their matches are still there."""
    interval: Interval = {"change": second - first, "low": None, "high": None}
    a, b = load(row), load(other)
    if a is not None and b is not None and _same_images(a, b):
        from stages.detection.differences import differ

        found = differ(a, b, DRAWS, seed=0, threads=1)[0]["map"]
        if found is not None:
            interval["low"], interval["high"] = found["low"], found["high"]
    verdict = _verdict(interval, 0.0, "higher", "lower")
    return {**_named(row, "map", first, second), **interval, "verdict": verdict, "valid": None}


class _Named(TypedDict):
    backend: str
    precision: str
    what: str
    first: float
    second: float


def _named(row: Row, what: str, first: float, second: float) -> _Named:
    return {"backend": row["backend"], "precision": row["precision"], "what": what, "first": first, "second": second}


def ratio(first: float, first_rounds: Sequence[float], second: float, second_rounds: Sequence[float]) -> Interval:
    """``second / first`` of two medians, with Welch's interval on the logarithms of the rounds' medians.

    The rounds of two runs need not vary alike: the difference of the mean logarithms has the standard error
    sqrt(v1 / n1 + v2 / n2), and Student's t with the degrees of freedom of Welch and Satterthwaite,
    (v1 / n1 + v2 / n2)^2 / ((v1 / n1)^2 / (n1 - 1) + (v2 / n2)^2 / (n2 - 1)), here rounded down.

    Source: B. L. Welch, "The generalization of 'Student's' problem when several different population variances are
    involved", Biometrika 34 (1947), 28-35.
    """
    interval: Interval = {"change": second / first, "low": None, "high": None}
    if min(len(first_rounds), len(second_rounds)) < 2:
        return interval
    import numpy as np

    parts = [float(np.var(np.log(r), ddof=1)) / len(r) for r in (first_rounds, second_rounds)]
    total = sum(parts)
    spread = 0.0
    if total > 0:
        counts = (len(first_rounds) - 1, len(second_rounds) - 1)
        freedom = total**2 / sum(part**2 / count for part, count in zip(parts, counts, strict=True))
        spread = student(max(1, int(freedom))) * math.sqrt(total)
    return {
        "change": interval["change"],
        "low": interval["change"] * math.exp(-spread),
        "high": interval["change"] * math.exp(spread),
    }


def _verdict(interval: Interval, nothing: float, above: str, below: str) -> str | None:
    if interval["low"] is None or interval["high"] is None:
        return None
    if interval["low"] > nothing:
        return above
    return below if interval["high"] < nothing else "no difference shown"


def _same_images(a: Matches, b: Matches) -> bool:
    import numpy as np

    return np.array_equal(a.image_ids, b.image_ids) and np.array_equal(a.truth_image, b.truth_image)
