"""Latency against mAP over many runs, and the frontier among those engines that may be compared.

Times compare within one data set, machine, day, number of threads and batch size only, as `detpress compare` has it
(`stages/report/compare_runs.py`); a disturbed timing is shown and stands on no frontier.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, TypedDict, cast

from stages.numerics.variants import title_of
from stages.report import compare_runs, marks, trend
from stages.report.schema import ReportContent
from stages.report.tables import Table, engine_name


class Point(TypedDict):
    """One engine of one run: median Runtime in milliseconds and mAP in points, each with its 95 % interval (``[low,
    high]``; of mAP that of the change against FP32, drawn at the point; null if unknown).

    ``group``: what its time may be compared within, in words. ``wrong``: what disturbed the timing; empty if nothing.
    """

    run: str
    model: str
    data: str
    backend: str
    precision: str
    group: str
    ms: float
    ms_bounds: list[float] | None
    map: float
    map_bounds: list[float] | None
    wrong: str


def made(
    run: str,
    model: str,
    data: str,
    engine: tuple[str, str],
    group: str,
    score: float,
    score_bounds: list[float] | None,
    ms: float,
    ms_bounds: list[float] | None,
    wrong: str,
) -> Point | None:
    """A point; ``None`` where mAP or milliseconds are no numbers to be drawn.

    Args:
        engine: backend and variant.
        score_bounds: the change of mAP against FP32: its value, low, high.
    """
    if not (math.isfinite(score) and 0 < ms < math.inf):
        return None
    around = [score + bound - score_bounds[0] for bound in score_bounds[1:]] if score_bounds else []
    return {
        "run": run, "model": model, "data": data, "backend": engine[0], "precision": engine[1], "group": group,
        "ms": ms, "ms_bounds": ms_bounds, "map": score,
        "map_bounds": around if len(around) == 2 and all(map(math.isfinite, around)) else None, "wrong": wrong,
    }  # fmt: skip


def within(data: str, hardware: str, day: str, threads: object, batch: object, images: object) -> str:
    """What times compare within, in words."""
    said = f"{data}, {hardware}, {day}, {threads} threads, batch {batch}"
    return said if images is None else f"{said}, {images} images"


def of_report(report: ReportContent) -> list[Point]:
    """The points of a run's engines that were timed and scored."""
    days, found = ", ".join(compare_runs.days(report)), []
    for row in (row for row in report["rows"] if row["status"] == "ok"):
        own = trend.point_of(report, row, lambda row: None)
        score, time = own["map"], own["runtime"]
        if score is None or time is None:
            continue
        change: Any = row["difference"].get("map") or {}
        bounds = [bound for bound in map(change.get, ("value", "low", "high")) if bound is not None]
        images = cast("dict[str, Any]", row.get("accuracy") or {}).get("images")
        group = within(report["data"], report["hardware"], days, row.get("threads"), row.get("batch"), images)
        between = None if time["low"] is None or time["high"] is None else [time["low"], time["high"]]
        wrong = "" if marks.is_valid(time["verdict"]) else str(time["verdict"])
        point = made(report["run_id"], report["model"], report["data"], (row["backend"], row["precision"]), group,
                     score["value"], bounds if len(bounds) == 3 else None, time["value"], between, wrong)  # fmt: skip
        found += [point] if point is not None else []
    return found


def frontier(points: Sequence[Point]) -> list[bool]:
    """Of each point whether no other valid one of its group is as fast and as accurate, and better in one of both."""
    best: dict[str, float] = {}
    found = [False] * len(points)
    for i in sorted(range(len(points)), key=lambda i: (points[i]["ms"], -points[i]["map"])):
        point = points[i]
        if not point["wrong"] and point["map"] > best.get(point["group"], -math.inf):
            best[point["group"]] = point["map"]
            found[i] = True
    return found


def table(points: Sequence[Point], title: str = "Frontier") -> Table:
    """The frontiers in words: fastest first within each group."""
    kept = [point for point, is_best in zip(points, frontier(points), strict=True) if is_best]
    rows = [
        [p["model"], engine_name(p["backend"], p["precision"]), f"{p['ms']:.2f}", f"{p['map']:.1f}", p["run"]]
        for p in sorted(kept, key=lambda p: (p["group"], p["ms"]))
    ]
    return Table(title, ["Model", "Engine", "Runtime, ms", "mAP", "Run"], rows)


def page(points: Sequence[Point]) -> str:
    """One HTML file that holds all points; its script draws and filters them."""
    from stages.report.html import render

    shown = [{**p, "precision": title_of(p["precision"]), "wrong": marks.why(p["wrong"])} for p in points]
    data = json.dumps(shown, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")
    return render("pareto.html.j2", data=data, count=len(points), runs=len({p["run"] for p in points}))
