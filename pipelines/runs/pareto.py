"""The points of the Pareto page, from the runs of a folder: what each engine of each run took and found."""

from __future__ import annotations

import math
from pathlib import Path

from pipelines.runs import history
from pipelines.runs.engines import Engine, Engines, engines
from pipelines.runs.index import Index
from stages.report import marks
from stages.report.pareto import Point


def collect(artifacts: Path) -> list[Point]:
    """A point for each engine that was timed and scored, newest run first."""
    with Index(artifacts) as index:
        runs = [(folder.name, engines(folder, index)) for folder in history.folders(artifacts)]
    return [point for name, run in runs if run for point in points(name, run)]


def points(name: str, run: Engines) -> list[Point]:
    """Those of one run."""
    found = (_point(name, run, one) for one in run["engines"])
    return [point for point in found if point is not None]


def of_folder(folder: Path) -> list[Point]:
    """Those of the run in a folder; none where it has no report."""
    with Index(folder.parents[1]) as index:
        run = engines(folder, index)
    return points(folder.name, run) if run else []


def within(data: str, hardware: str, day: str, threads: object, batch: object, images: object) -> str:
    """What times compare within, in words."""
    said = f"{data}, {hardware}, {day}, {threads} threads, batch {batch}"
    return said if images is None else f"{said}, {images} images"


def around(score: float, change: list[float]) -> list[float] | None:
    """The interval of a change (its value, low, high), drawn at the score."""
    bounds = [score + bound - change[0] for bound in change[1:]]
    return bounds if len(bounds) == 2 and all(map(math.isfinite, bounds)) else None


def is_point(score: float, ms: float) -> bool:
    """Whether mAP and milliseconds are numbers to be drawn."""
    return math.isfinite(score) and 0 < ms < math.inf


def _point(name: str, run: Engines, one: Engine) -> Point | None:
    """``None`` of an engine that lacks one of the two numbers."""
    score, time = one["point"]["map"], one["point"]["runtime"]
    if score is None or time is None or not is_point(score["value"], time["value"]):
        return None
    bounds = None if time["low"] is None or time["high"] is None else [time["low"], time["high"]]
    change, day = one["change"], ", ".join(run["days"])
    return {
        "run": name,
        "model": run["model"],
        "data": run["data"],
        "backend": one["backend"],
        "precision": one["precision"],
        "group": within(run["data"], one["point"]["hardware"], day, one["threads"], one["batch"], one["images"]),
        "ms": time["value"],
        "ms_bounds": bounds,
        "map": score["value"],
        "map_bounds": around(score["value"], change) if change else None,
        "wrong": "" if marks.is_valid(time["verdict"]) else str(time["verdict"]),
    }
