"""The points of the Pareto page, from the runs of a folder: what each engine of each run took and found."""

from __future__ import annotations

from pathlib import Path

from pipelines.runs import history
from pipelines.runs.engines import Engine, Engines, engines
from pipelines.runs.index import Index
from stages.report import marks
from stages.report.pareto import Point, made, within


def collect(artifacts: Path) -> list[Point]:
    """A point for each engine that was timed and scored, newest run first."""
    with Index(artifacts) as index:
        runs = [(folder.name, engines(folder, index)) for folder in history.folders(artifacts)]
    found = (_point(name, run, one) for name, run in runs if run for one in run["engines"])
    return [point for point in found if point is not None]


def _point(name: str, run: Engines, one: Engine) -> Point | None:
    """``None`` of an engine that lacks one of the two numbers."""
    score, time = one["point"]["map"], one["point"]["runtime"]
    if score is None or time is None:
        return None
    group = within(
        run["data"], one["point"]["hardware"], ", ".join(run["days"]), one["threads"], one["batch"], one["images"]
    )
    bounds = None if time["low"] is None or time["high"] is None else [time["low"], time["high"]]
    wrong = "" if marks.is_valid(time["verdict"]) else str(time["verdict"])
    engine = (one["backend"], one["precision"])
    return made(
        name, run["model"], run["data"], engine, group, score["value"], one["change"], time["value"], bounds, wrong
    )
