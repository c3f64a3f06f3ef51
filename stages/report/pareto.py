"""Latency against mAP over many runs, and the frontier among those engines that may be compared.

Times compare within one data set, machine, day, number of threads and batch size only, as `detpress compare` has it
(`stages/report/compare_runs.py`); a disturbed timing is shown and stands on no frontier.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TypedDict

from stages.numerics.variants import title_of
from stages.report import marks
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
