"""How one engine's numbers went from run to run, with the noise of each.

A point::

    run_id, started, hardware, champion    whether the run's engine became the champion
    map, runtime, size                     {"value", "low", "high"}: points, milliseconds, megabytes; null if unknown

``low`` and ``high`` bound the 95 % interval of the number itself: of mAP by resampling the images, of the median by the
medians of the rounds (null where there is too little to tell); a size has no noise.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.detection.bootstrap import draw_weights, interval, mean_over_classes, resample
from stages.detection.matching import Matches
from stages.numerics.student_t import student
from stages.report.compare_runs import Load
from stages.report.rows import Row
from stages.report.style import CSS
from stages.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWS = 300
PANELS = (("map", "mAP, points"), ("runtime", "Runtime, ms"), ("size", "Engine, MB"))
Point = dict[str, Any]


def point(report: Mapping[str, Any], backend: str, precision: str, load: Load) -> Point | None:
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
        [p["run_id"] + (" ★" if p["champion"] else ""), p["started"], *(_with_interval(p[name]) for name, _ in PANELS)]
        for p in points
    ]
    return Table("Trend", ["Run (★ became champion)", "Started", *(title for _, title in PANELS)], rows)


def draw(points: Sequence[Point]) -> Figure:
    """A panel per number: its course, its noise as a band, champions marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 6.4), layout="constrained")
    axes = figure.subplots(len(PANELS), 1, sharex=True)
    for axis, (name, title) in zip(axes, PANELS, strict=True):
        known = [(i, p[name]) for i, p in enumerate(points) if p[name] is not None]
        at = [i for i, _ in known]
        values = [told["value"] for _, told in known]
        banded = [(i, told) for i, told in known if told["low"] is not None]
        if banded:
            places, bounds = [i for i, _ in banded], [(t["low"], t["high"]) for _, t in banded]
            axis.fill_between(places, *zip(*bounds, strict=True), alpha=0.2, color="#2563eb", linewidth=0)
            for place, (low, high) in zip(places, bounds, strict=True):
                axis.plot([place, place], [low, high], color="#2563eb", linewidth=1, alpha=0.6)
        axis.plot(at, values, color="#2563eb", marker="o", markersize=4)
        crowned = [(i, told["value"]) for i, told in known if points[i]["champion"]]
        if crowned:
            axis.plot(*zip(*crowned, strict=True), "*", color="#ea580c", markersize=12)
        axis.set_ylabel(title)
        axis.grid(visible=True, alpha=0.3)
    axes[-1].set_xticks(range(len(points)), [p["started"][:16].replace("T", "\n") for p in points], fontsize=7)
    return figure


def page(points: Sequence[Point], title: str, figure: Figure) -> str:
    """One HTML file."""
    from stages.report.figures import as_svg

    told = table(points)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in told.header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in told.rows)
    machines = len({p["hardware"] for p in points})
    note = "Bands are 95 % intervals: of mAP by resampling the images, of the median Runtime from round to round. "
    note += "Times of two runs differ with what the machine did beside, too: only engines that are timed alternately "
    note += "(a promotion's evidence) compare exactly. "
    note += f"The runs were made on {machines} kinds of machine, so their times do not compare." if machines > 1 else ""
    return (
        f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>\n"
        f"<style>{CSS}</style>\n<body><main><h1>{html.escape(title)}</h1>\n<p class=note>{note}</p>\n"
        f"<figure>{as_svg(figure, 'trend')}</figure>\n<div class=scroll><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div></main></body></html>\n"
    )


def _map(row: Row, load: Load) -> dict[str, float | None] | None:
    if row["map"] is None:
        return None
    matches = load(row)
    low, high = (map_noise(matches) if matches is not None else None) or (None, None)
    return {"value": row["map"], "low": low, "high": high}


def _runtime(row: Row) -> dict[str, float | None] | None:
    """The median, with Student's interval on the logarithms of the rounds' medians."""
    told = row["latency"]["runtime"]
    if told is None:
        return None
    rounds = np.log(told.get("rounds_ms") or [1.0])
    low = high = None
    if len(rounds) > 1:
        spread = math.exp(student(len(rounds) - 1) * float(np.std(rounds, ddof=1)) / math.sqrt(len(rounds)))
        low, high = told["median_ms"] / spread, told["median_ms"] * spread
    return {"value": told["median_ms"], "low": low, "high": high}


def _exact(size: int | None) -> dict[str, float | None] | None:
    return None if size is None else {"value": size / 1e6, "low": None, "high": None}


def _with_interval(number: Mapping[str, Any] | None) -> str:
    if number is None:
        return "None"
    band = "" if number["low"] is None else f" ({number['low']:.2f} to {number['high']:.2f})"
    return f"{number['value']:.2f}{band}"
