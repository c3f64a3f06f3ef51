"""Intervals of 95 % between the rows of a report, and which engine is beaten with certainty."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stages.numerics.student_t import student
from stages.report.points import interval_of
from stages.report.rows import BASE
from stages.report.schema import Row
from stages.report.schema_engines import Bounds, ModeLatency
from stages.report.ship import over
from stages.report.tables import row_name


def of_median(latency: ModeLatency) -> tuple[float, float] | None:
    """The interval of a median, milliseconds: Student's (`stages/numerics/student_t.py`) on the logarithms of the
    rounds' medians; ``None`` from fewer than two rounds, or where one of them is no time."""
    medians = latency.get("rounds_ms") or []
    if len(medians) < 2 or not all(0 < ms < math.inf for ms in medians):
        return None
    rounds = np.log(medians)
    spread = math.exp(student(len(rounds) - 1) * float(np.std(rounds, ddof=1)) / math.sqrt(len(rounds)))
    return latency["median_ms"] / spread, latency["median_ms"] * spread


def faster(row: Row, other: Row) -> Bounds | None:
    """How many times faster ``row`` is than ``other`` by Runtime; ``None`` where one of them was not timed."""
    if not row["latency"]["runtime"] or not other["latency"]["runtime"]:
        return None
    bounds = row["speedup_interval"]["runtime"]
    median = row["speedup"]["runtime"]
    if median is not None and bounds and (other["backend"], other["precision"]) == (row["backend"], BASE):
        return {"median": median, "low": bounds[0], "high": bounds[1]}
    found = over(other, row)
    return {"median": found["median"], "low": found["low"], "high": found["high"]}


def more_accurate(row: Row, other: Row) -> Bounds | None:
    """How many points of mAP ``row`` is above ``other``; ``None`` where one of them was not scored.

    Each row's interval is that of its difference to FP32; the two half-widths add like independent errors, in squares.
    Of the FP32 rows of two backends none is known.
    """
    if row["map"] is None or other["map"] is None:
        return None
    value = row["map"] - other["map"]
    parts = [_half_widths(each) for each in (row, other)]
    known = [part for part in parts if part is not None]
    if len(known) < 2 or (row["precision"] == other["precision"] == BASE):
        return {"median": value, "low": None, "high": None}
    (own_down, own_up), (other_down, other_up) = known
    return {"median": value, "low": value - math.hypot(own_down, other_up),
            "high": value + math.hypot(own_up, other_down)}  # fmt: skip


def dominated(rows: Sequence[Row]) -> dict[str, str]:
    """Name of an engine -> the engine that beats it: better with certainty in speed or in mAP, and in the other at
    least as good. A difference that may be chance beats nobody."""
    found: dict[str, str] = {}
    for row in rows:
        for other in rows:
            if other is not row and _beats(other, row):
                found[row_name(row)] = row_name(other)
                break
    return found


def _beats(row: Row, other: Row) -> bool:
    speed, accuracy = faster(row, other), more_accurate(row, other)
    if speed is None or accuracy is None:
        return False
    certain = (speed["low"] is not None and speed["low"] > 1) or (accuracy["low"] is not None and accuracy["low"] > 0)
    return certain and speed["median"] >= 1 and accuracy["median"] >= 0


def _half_widths(row: Row) -> tuple[float, float] | None:
    """Of the difference to FP32, downwards and upwards; none of FP32 itself."""
    if row["precision"] == BASE:
        return 0.0, 0.0
    bounds, difference = interval_of(row), row["difference"].get("map")
    if bounds is None or difference is None:
        return None
    return max(difference["value"] - bounds[0], 0.0), max(bounds[1] - difference["value"], 0.0)
