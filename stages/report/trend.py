"""How one engine's numbers went from run to run, with the noise of each.

An interval is that of the number itself: of mAP by resampling the images, of the median by the medians of the rounds
(none where there is too little to tell); a size has no noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from stages.detection.bootstrap import draw_weights, interval, mean_over_classes, resample
from stages.detection.matching import Matches
from stages.report.compare_runs import Load
from stages.report.intervals import of_median
from stages.report.schema import ReportContent, Row
from stages.report.tables import NOTHING, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWS = 300
PANELS = ("mAP, points", "Runtime, ms", "Engine, MB")


class Number(TypedDict):
    """A number with its 95 % interval."""

    value: float
    low: float | None
    high: float | None


class EnginePoint(TypedDict):
    """One engine in one report: mAP in points, Runtime in milliseconds, size in megabytes; null if unknown."""

    run_id: str
    hardware: str
    map: Number | None
    runtime: Number | None
    size: Number | None


class Point(EnginePoint):
    """The same with what the report does not know: ``champion``, whether the run's engine became the champion."""

    started: str
    champion: bool


def point(report: ReportContent, backend: str, precision: str, load: Load) -> EnginePoint | None:
    """The point of one engine in a report; ``None`` if it has none that ended well."""
    for row in report["rows"]:
        if (row["backend"], row["precision"], row["status"]) == (backend, precision, "ok"):
            return {
                "run_id": report["run_id"],
                "hardware": report["hardware"],
                "map": _map(row, load),
                "runtime": _runtime(row),
                "size": _exact(row["engine_bytes"]),
            }
    return None


def map_noise(matches: Matches) -> tuple[float, float] | None:
    """The 95 % interval of a set's mAP, points."""
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
    """A panel per number: its course, its noise as a band, champions marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 6.4), layout="constrained")
    axes = figure.subplots(len(PANELS), 1, sharex=True)
    for axis, title, numbers in zip(axes, PANELS, zip(*map(_numbers, points), strict=True), strict=True):
        known = [(i, number) for i, number in enumerate(numbers) if number is not None]
        at = [i for i, _ in known]
        values = [number["value"] for _, number in known]
        banded = [(i, number) for i, number in known if number["low"] is not None]
        if banded:
            places, bounds = [i for i, _ in banded], [(t["low"], t["high"]) for _, t in banded]
            axis.fill_between(places, *zip(*bounds, strict=True), alpha=0.2, color="#2563eb", linewidth=0)
            for place, (low, high) in zip(places, bounds, strict=True):
                axis.plot([place, place], [low, high], color="#2563eb", linewidth=1, alpha=0.6)
        axis.plot(at, values, color="#2563eb", marker="o", markersize=4)
        crowned = [(i, number["value"]) for i, number in known if points[i]["champion"]]
        if crowned:
            axis.plot(*zip(*crowned, strict=True), "*", color="#ea580c", markersize=12)
        axis.set_ylabel(title)
        axis.grid(visible=True, alpha=0.3)
    axes[-1].set_xticks(range(len(points)), [_stamp(p["started"]) for p in points], fontsize=7)
    return figure


def _stamp(started: str) -> str:
    from stages.report.figures import label

    return label(started[:16]).replace("T", "\n").replace(" ", "\n")


def page(points: Sequence[Point], title: str, figure: Figure) -> str:
    """One HTML file."""
    from stages.report.figures import as_svg
    from stages.report.html import render

    machines = len({p["hardware"] for p in points})
    return render("trend.html.j2", title=title, table=table(points), machines=machines, svg=as_svg(figure, "trend"))


def _numbers(point: EnginePoint) -> tuple[Number | None, ...]:
    """In the order of `PANELS`."""
    return (point["map"], point["runtime"], point["size"])


def _map(row: Row, load: Load) -> Number | None:
    if row["map"] is None:
        return None
    matches = load(row)
    low, high = (map_noise(matches) if matches is not None else None) or (None, None)
    return {"value": row["map"], "low": low, "high": high}


def _runtime(row: Row) -> Number | None:
    """The median with its interval (`stages/report/intervals.py`)."""
    runtime = row["latency"]["runtime"]
    if runtime is None:
        return None
    low, high = of_median(runtime) or (None, None)
    return {"value": runtime["median_ms"], "low": low, "high": high}


def _exact(size: int | None) -> Number | None:
    return None if size is None else {"value": size / 1e6, "low": None, "high": None}


def _with_interval(number: Number | None) -> str:
    if number is None:
        return NOTHING
    band = "" if number["low"] is None else f" ({number['low']:.2f} to {number['high']:.2f})"
    return f"{number['value']:.2f}{band}"
