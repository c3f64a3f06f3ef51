"""The engines that a run measured, as the trend and the Pareto page need them: from its folder, or from the index."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from pipelines.runs import history
from pipelines.runs.index import Index, Made, is_settled, stamp
from pipelines.runs.listed import is_final
from pipelines.runs.remembered import TrendReport
from stages.outside import records
from stages.report import compare_runs, trend

if TYPE_CHECKING:
    from stages.report.schema import ReportContent, Row

KIND, NOISE = "engines", "noise"


class Engine(TypedDict):
    """One that ended well. ``point`` has no interval of mAP, which takes long; ``change`` is that against FP32, points,
    with its interval. ``matches``: the store's entry that the interval of mAP comes from."""

    backend: str
    precision: str
    point: trend.EnginePoint
    change: list[float] | None
    matches: Any
    threads: Any
    batch: Any
    nms_in: Any
    images: Any


class Engines(TypedDict):
    """Of one run. ``days``: those of the runs that its timings come from."""

    model: str
    data: str
    started: str
    days: list[str]
    engines: list[Engine]


class _Noise(TypedDict):
    """The 95 % interval of an engine's mAP, and the stamp of the file in the store that it was made of."""

    stamp: list[int]
    bounds: list[float] | None


class _Outline(TypedDict):
    """`Engines` before anybody looks at one."""

    model: str
    data: str
    started: str
    days: list[str]
    engines: list[Any]


def engines(folder: Path, index: Index, chosen: Callable[[Engines], list[Engine]] | None = None) -> Engines | None:
    """What a run measured; ``None`` if it has no report that can be read.

    Args:
        chosen: which of the engines are wanted, by default all. A record's others are not looked at, which takes long.
    """

    def holds(known: Engines | None) -> bool:
        """Raises ValueError if an engine that is wanted is none."""
        if known is not None:
            records.conform(known["engines"] if chosen is None else chosen(known), list[Engine])
        return True

    content: Engines | None = index.get(folder, KIND, _Outline | None, _read, holds)
    return content


def of(model: str, data: str, backend: str, precision: str) -> Callable[[Engines], list[Engine]]:
    """Of a run, the engine of that model, data, backend and variant, if it has one."""

    def chosen(run: Engines) -> list[Engine]:
        if (run["model"], run["data"]) != (model, data):
            return []
        wanted = {"backend": backend, "precision": precision}
        return [one for one in run["engines"] if {**one, **wanted} == one][:1]

    return chosen


def _read(folder: Path) -> Made:
    report = history.read_report(folder, TrendReport)
    state = history.read_state(folder) or {}
    final = is_final(folder, state, report)
    if report is None:
        return Made(None, final)
    rows = [row for row in report["rows"] if row["status"] == "ok"]
    content: Engines = {
        "model": report["model"],
        "data": report["data"],
        "started": str(state.get("started", "")),
        "days": compare_runs.days(report),
        "engines": [_engine(report, row) for row in rows],
    }
    return Made(content, final)


def _engine(report: ReportContent, row: Row) -> Engine:
    accuracy = row.get("accuracy")
    change: Any = (row.get("difference") or {}).get("map") or {}
    bounds = [change.get(name) for name in ("value", "low", "high")]
    return {
        "backend": row["backend"],
        "precision": row["precision"],
        "point": trend.point_of(report, row, lambda row: None),
        "change": [bound for bound in bounds if bound is not None] if None not in bounds else None,
        "matches": row.get("matches"),
        "threads": row.get("threads"),
        "batch": row.get("batch"),
        "nms_in": row.get("nms_in"),
        "images": accuracy["images"] if accuracy and "images" in accuracy else None,
    }


class Noises:
    """The intervals of mAP of many runs, each by resampling the images of an entry of the store, each entry once."""

    def __init__(self, store: Path, index: Index) -> None:
        self._store = store
        self._index = index
        self._found: dict[Path, tuple[float, float] | None] = {}

    def point(self, folder: Path, engine: Engine) -> trend.EnginePoint:
        """An engine's point with the interval of its mAP; none where its matches are gone."""
        now, score = time.time_ns(), engine["point"]["map"]
        file = compare_runs.matches_file(self._store, engine["matches"])
        at = [] if file is None else stamp(file)
        if score is None or file is None or not at:
            return engine["point"]

        def make(folder: Path) -> Made:
            if file not in self._found:
                self._found[file] = trend.noise_of(file)
            bounds = self._found[file]
            known: _Noise = {"stamp": at, "bounds": list(bounds) if bounds else None}
            return Made(known, is_settled(at, now))

        kind = f"{NOISE} {engine['backend']} {engine['precision']}"
        found: _Noise = self._index.get(folder, kind, _Noise, make, lambda known: known["stamp"] == at)
        low, high = found["bounds"] or (None, None)
        return {**engine["point"], "map": {**score, "low": low, "high": high}}
