"""How one engine's numbers went from run to run, with the noise of each.

An interval is that of the number itself: of mAP by resampling the images, of the median by the medians of the rounds
(none where there is too little to tell); a size has no noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from stages.outside.text import plain
from stages.report import marks, trend_plot
from stages.report.schema import ReportContent, Row
from stages.report.tables import NOTHING, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from stages.detection.matching import Matches
    from stages.report.compare_runs import Load

DRAWS = 300
BLUE = "#2563eb"
PANELS = ("mAP, points", "Runtime, ms", "Speed-up", "Engine, MB")
TICKS = 12
"""Points at most that the axis names: more would cover each other."""
JOINED = ("mAP, points", "Speed-up", "Engine, MB")
"""Panels whose points a line joins. Times of several days, or machines, are not compared: only ratios are."""


class Number(TypedDict):
    """A number with its 95 % interval, and whether it can be believed (``verdict``; null of what is no timing)."""

    value: float
    low: float | None
    high: float | None
    verdict: str | None


class EnginePoint(TypedDict):
    """One engine in one report: mAP in points, Runtime in milliseconds, its speed-up over FP32, size in megabytes;
    null if unknown."""

    run_id: str
    hardware: str
    map: Number | None
    runtime: Number | None
    speedup: Number | None
    size: Number | None


class Point(EnginePoint):
    """The same with what the report does not know: ``champion``, whether the run's engine became the champion."""

    started: str
    champion: bool


def point(report: ReportContent, backend: str, precision: str, load: Load) -> EnginePoint | None:
    """The point of one engine in a report; ``None`` if it has none that ended well."""
    for row in report["rows"]:
        if (row["backend"], row["precision"], row["status"]) == (backend, precision, "ok"):
            return point_of(report, row, load)
    return None


def point_of(report: ReportContent, row: Row, load: Load) -> EnginePoint:
    """The point of one row of a report."""
    return {
        "run_id": report["run_id"],
        "hardware": report["hardware"],
        "map": _map(row, load),
        "runtime": _runtime(row),
        "speedup": _speedup(row),
        "size": _exact(row["engine_bytes"]),
    }


def noise_of(file: Path) -> tuple[float, float] | None:
    """`map_noise` of the matches in a file."""
    from stages.detection.matching import Matches

    return map_noise(Matches.load(file))


def map_noise(matches: Matches) -> tuple[float, float] | None:
    """The 95 % interval of a set's mAP, points."""
    from stages.detection.bootstrap import draw_weights, interval, mean_over_classes, resample

    weights = draw_weights(matches.images, DRAWS, 0)
    return interval(100 * mean_over_classes(resample(matches, weights))[:, 0, 0])


def table(points: Sequence[Point]) -> Table:
    """The points in words, oldest first."""
    rows = [
        [
            p["run_id"] + (" ★" if p["champion"] else ""),
            p["started"],
            *(_with_interval(number) for number in _numbers(p)),
        ]
        for p in points
    ]
    return Table("Trend", ["Run (★ became champion)", "Started", *PANELS], rows)


def draw(points: Sequence[Point]) -> Figure:
    """A panel per number: its course, its noise as a bar, champions marked; hollow: measured while disturbed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 8.0))
    axes = figure.subplots(len(PANELS), 1, sharex=True)
    figure.subplots_adjust(0.1, 0.06, 0.98, 0.99, hspace=0.1)  # finding out what room there is draws it all twice
    for axis, title, numbers in zip(axes, PANELS, zip(*map(_numbers, points), strict=True), strict=True):
        known = [(i, number) for i, number in enumerate(numbers) if number is not None]
        if title in JOINED:
            axis.plot([i for i, _ in known], [n["value"] for _, n in known], color=BLUE, linewidth=1)
        # All bars as one line with gaps, all points of a kind as one: hundreds of lines take seconds.
        bars = [(x, y) for x, n in known if n["low"] is not None and n["high"] is not None
                for y in (n["low"], n["high"], math.nan)]  # fmt: skip
        if bars:
            axis.plot(*zip(*bars, strict=True), color=BLUE, linewidth=1.5, alpha=0.6)
        for valid, face in ((True, BLUE), (False, "white")):
            dots = [(x, n["value"]) for x, n in known if marks.is_valid(n["verdict"]) == valid]
            if dots:
                axis.plot(*zip(*dots, strict=True), "o", color=BLUE, markerfacecolor=face, markersize=5)
        crowned = [(i, number["value"]) for i, number in known if points[i]["champion"]]
        if crowned:
            axis.plot(*zip(*crowned, strict=True), "*", color="#ea580c", markersize=12)
        axis.set_ylabel(title)
        axis.grid(visible=True, alpha=0.3)
    from stages.report.figures import label

    named = _named(points)
    axes[-1].set_xticks(named, [_stamp(label(points[i]["started"][:16])) for i in named], fontsize=7)
    return figure


def _named(points: Sequence[Point]) -> range:
    """The points that the axis names."""
    return range(0, len(points), -(-len(points) // TICKS) or 1)


def _stamp(started: str) -> str:
    return started.replace("T", "\n").replace(" ", "\n")


def page(points: Sequence[Point], title: str) -> str:
    """One HTML file. Its picture is that of `draw`, made without matplotlib, which takes longer than all else."""
    from stages.report.html import render

    machines = len({p["hardware"] for p in points})
    return render("trend.html.j2", title=title, table=table(points), machines=machines, svg=_svg(points))


def _svg(points: Sequence[Point]) -> str:
    panels = []
    for title, numbers in zip(PANELS, zip(*map(_numbers, points), strict=True), strict=True):
        known = [(i, number) for i, number in enumerate(numbers) if number is not None]
        panels.append(trend_plot.Panel(title, [_dot(i, points[i], n) for i, n in known], title in JOINED))
    names = [(i, plain(_stamp(points[i]["started"][:16]))) for i in _named(points)]
    return trend_plot.svg(panels, names, len(points), "trend")


def _dot(at: int, point: Point, number: Number) -> trend_plot.Dot:
    valid = marks.is_valid(number["verdict"])
    return trend_plot.Dot(at, number["value"], number["low"], number["high"], valid, point["champion"])


def _numbers(point: EnginePoint) -> tuple[Number | None, ...]:
    """In the order of `PANELS`."""
    return (point["map"], point["runtime"], point["speedup"], point["size"])


def _map(row: Row, load: Load) -> Number | None:
    if row["map"] is None:
        return None
    matches = load(row)
    low, high = (map_noise(matches) if matches is not None else None) or (None, None)
    return {"value": row["map"], "low": low, "high": high, "verdict": None}


def _runtime(row: Row) -> Number | None:
    """The median with its interval (`stages/report/intervals.py`)."""
    runtime = row["latency"]["runtime"]
    if runtime is None:
        return None
    from stages.report.intervals import of_median  # numpy: a record of the index needs none

    low, high = of_median(runtime) or (None, None)
    return {"value": runtime["median_ms"], "low": low, "high": high, "verdict": marks.timing(row, "runtime")}


def _speedup(row: Row) -> Number | None:
    value, bounds = row["speedup"]["runtime"], row["speedup_interval"]["runtime"]
    if value is None:
        return None
    low, high = bounds if bounds and len(bounds) == 2 else (None, None)
    return {"value": value, "low": low, "high": high, "verdict": marks.speedup(row, "runtime")}


def _exact(size: int | None) -> Number | None:
    return None if size is None else {"value": size / 1e6, "low": None, "high": None, "verdict": None}


def _with_interval(number: Number | None) -> str:
    if number is None:
        return NOTHING
    band = "" if number["low"] is None else f" ({number['low']:.2f} to {number['high']:.2f})"
    return f"{number['value']:.2f}{marks.star(number['verdict'])}{band}"
