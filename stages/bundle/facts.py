"""What a run knows of one engine, for its model card and its bill of materials: numbers, their bounds, what is missing.

A number that was not measured is not there; ``missing`` says why. Reports of earlier versions lack keys: what they do
not say is missing too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypedDict, final

from stages.report import marks
from stages.report.intervals import of_median
from stages.report.rows import BASE
from stages.report.schema import ReportContent, Row
from stages.report.throughput import TITLES as SCENARIOS

SCORES = {
    "map": "mAP, mean over IoU 0.50 to 0.95, points",
    "map50": "mAP at IoU 0.50, points",
    "map75": "mAP at IoU 0.75, points",
}
"""The scores of a row -> what they are; points are from 0 to 100."""
MODES = {
    "runtime": "latency of the engine alone (Runtime), median, ms",
    "end2end": "latency with preprocessing and NMS (End2End), median, ms",
}
NO_SCORES = "the run scored it on no labelled images"
NO_SUCH = "the run's report does not have it"
NO_TIMES = "the run did not time it"
NO_ROW = "the run's report has no row of this engine"
ONE_ROUND = "no interval: it was timed in fewer than two rounds"
OF_SCORES = "no interval of its own was computed; where it was compared with FP32, the difference has one"
OF_CLASS = "no interval was computed"
OF_ROUNDS = "95 % interval, Student's t over the medians of the rounds"
OF_RATIO = "95 % interval over the rounds"
OF_DRAWS = "95 % interval of a paired bootstrap over the images"


@final
class Fact(TypedDict):
    """A number that was measured.

    ``interval``: [low, high] of 95 %, or ``None``; ``about`` says how it was computed, or why there is none.
    ``verdict``: ``valid``, ``invalid: why``, or ``None`` where there is none (of scores, or in an old report).
    ``timed``: whether it is a time or a ratio of times.
    ``part``: the class it is of; empty for all.
    """

    kind: str
    name: str
    value: float
    interval: list[float] | None
    about: str
    verdict: str | None
    timed: bool
    part: str


@final
class Missing(TypedDict):
    """A number that there is not, and why."""

    name: str
    reason: str


class Facts(TypedDict):
    """All of an engine; what a run does not say is ``None``."""

    data: str | None
    images: int | None
    boxes: int | None
    hardware: str | None
    threads: int | None
    batch: int | None
    nms_in: str | None
    method: str | None
    parameters: int | None
    multiply_adds: int | None
    measured: list[Fact]
    missing: list[Missing]


def collect(report: ReportContent | None, row: Row | None) -> Facts:
    """The facts of a row of a report; of nothing, every number is missing."""
    whole: dict[str, Any] = dict(report or {})
    own: dict[str, Any] = dict(row or {})
    scores, size = own.get("accuracy") or {}, whole.get("size") or {}
    measured: list[Fact] = []
    missing: list[Missing] = []
    for found in (*_scores(own), *_times(own), *_loads(whole, own)):
        if "reason" in found:
            missing.append(found)
        else:
            measured.append(found)
    return {
        "data": whole.get("data") or None,
        "images": scores.get("images"),
        "boxes": scores.get("boxes"),
        "hardware": own.get("hardware") or whole.get("hardware") or None,
        "threads": own.get("threads"),
        "batch": own.get("batch"),
        "nms_in": own.get("nms_in"),
        "method": whole.get("method") or None,
        "parameters": size.get("parameters"),
        "multiply_adds": size.get("multiply_adds"),
        "measured": measured,
        "missing": missing,
    }


def _why(row: dict[str, Any], otherwise: str) -> str:
    """Why a number is missing: the error that a row failed with, if it did."""
    if not row:
        return NO_ROW
    return str(row["error"]) if row.get("status", "ok") != "ok" and row.get("error") else otherwise


def _fact(kind: str, name: str, value: float, about: str, **more: Any) -> Fact:
    interval, verdict, part = more.get("interval"), more.get("verdict"), more.get("part", "")
    timed = kind in ("runtime_ms", "end2end_ms", "speedup", "throughput")
    return {"kind": kind, "name": name, "value": float(value), "interval": interval, "about": about,
            "verdict": verdict, "timed": timed, "part": part}  # fmt: skip


def _scores(row: dict[str, Any]) -> Iterator[Fact | Missing]:
    for key, name in SCORES.items():
        if _is_number(row.get(key)):
            yield _fact(key, name, row[key], OF_SCORES)
        else:
            scored = row.get("accuracy") or any(_is_number(row.get(other)) for other in SCORES)
            yield {"name": name, "reason": _why(row, NO_SUCH if scored else NO_SCORES)}
    name = "change of mAP against FP32 on the same backend, points"
    difference = (row.get("difference") or {}).get("map")
    if difference and _is_number(difference.get("value")):
        interval = _interval(difference.get("low"), difference.get("high"))
        about = OF_DRAWS if interval else "no interval: it was computed without draws"
        yield _fact("map_difference", name, difference["value"], about, interval=interval)
    elif row.get("precision") != BASE:
        yield {"name": name, "reason": _why(row, "the run did not compare the two")}
    for each in (row.get("accuracy") or {}).get("per_class") or []:
        what = f"AP of {each['name']}, points"
        if _is_number(each.get("AP")):
            yield _fact("ap", "AP of one class, points", 100 * each["AP"], OF_CLASS, part=each["name"])
        else:
            yield {"name": what, "reason": "the labelled images have no box of it"}


def _times(row: dict[str, Any]) -> Iterator[Fact | Missing]:
    for mode, name in MODES.items():
        latency = (row.get("latency") or {}).get(mode)
        if latency and _is_number(latency.get("median_ms")):
            bounds = of_median(latency)
            interval = _interval(*bounds) if bounds else None
            verdict = (row.get("validity") or {}).get(mode)
            yield _fact(f"{mode}_ms", name, latency["median_ms"], OF_ROUNDS if interval else ONE_ROUND,
                        interval=interval, verdict=verdict)  # fmt: skip
        else:
            yield {"name": name, "reason": _why(row, NO_TIMES)}
    name = "speed-up over FP32 on the same backend (Runtime), times"
    speedup = (row.get("speedup") or {}).get("runtime")
    if speedup is not None and _is_number(speedup):
        ends = (row.get("speedup_interval") or {}).get("runtime") or []
        interval = _interval(*ends) if len(ends) == 2 else None
        verdict = marks.speedup(row, "runtime")  # type: ignore[arg-type]
        yield _fact("speedup", name, speedup, OF_RATIO if interval else ONE_ROUND, interval=interval, verdict=verdict)
    elif row.get("precision") != BASE:
        yield {"name": name, "reason": _why(row, "the run did not time the two in turns")}


def _loads(report: dict[str, Any], row: dict[str, Any]) -> Iterator[Fact]:
    """Images a second, with the streams and threads that were best; of a run that measured it."""
    for content in report.get("throughput") or []:
        found = content["engines"].get(row.get("precision")) if content["backend"] == row.get("backend") else None
        for scenario, title in SCENARIOS.items():
            own = (found or {}).get(scenario)
            if not own:
                continue
            name = (
                f"images a second, {title.lower()}, streams × threads × batch: {own['streams']} × {own['threads']} × "
                f"{content['batch']}"
            )
            rounds: Any = {"median_ms": own["images_per_s"], "rounds_ms": own["rounds_images_per_s"]}
            bounds = of_median(rounds)
            interval = _interval(*bounds) if bounds else None
            about, verdict = OF_ROUNDS if interval else ONE_ROUND, own["validity"]["verdict"]
            yield _fact("throughput", name, own["images_per_s"], about, interval=interval, verdict=verdict)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _interval(low: float | None, high: float | None) -> list[float] | None:
    if low is None or high is None or not (_is_number(low) and _is_number(high)):
        return None
    return [float(low), float(high)]
