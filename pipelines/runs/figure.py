"""A number with what is known of it: its interval, and whether it can be relied on."""

from __future__ import annotations

from dataclasses import dataclass

from stages.report import marks
from stages.report.schema import Row


@dataclass(frozen=True)
class Figure:
    """What was measured. It is no ``float`` on purpose: whoever takes ``value`` has seen the rest."""

    value: float
    unit: str
    """``ms``, ``times``, ``points`` of mAP (0 to 100), or ``bytes``."""
    low: float | None = None
    high: float | None = None
    """95 % interval, where the report has one."""
    verdict: str | None = None
    """``valid``, or ``invalid: why``; ``None`` of what needs none, such as a size."""

    @property
    def valid(self) -> bool:
        """Whether nothing speaks against it."""
        return marks.is_valid(self.verdict)

    def __str__(self) -> str:
        number = f"{self.value:.0f}" if self.unit == "bytes" else f"{self.value:.2f}"
        interval = "" if self.low is None or self.high is None else f" (95 %: {self.low:.2f} to {self.high:.2f})"
        return f"{number} {self.unit}{interval}{marks.while_disturbed(self.verdict)}"


def time_of(row: Row, mode: str) -> Figure | None:
    """The median of a mode (``runtime``, ``end2end``), milliseconds."""
    found = row["latency"][mode]
    return None if found is None else Figure(found["median_ms"], "ms", verdict=marks.timing(row, mode))


def speedup_of(row: Row, mode: str = "runtime") -> Figure | None:
    """How many times faster than FP32 of the same backend."""
    value, bounds = row["speedup"][mode], row["speedup_interval"][mode] or (None, None)
    return None if value is None else Figure(value, "times", bounds[0], bounds[1], marks.speedup(row, mode))


def over_float_of(row: Row, mode: str = "runtime") -> Figure | None:
    """How many times faster than the fastest float engine of the same backend."""
    ratio = (row.get("over_float") or {}).get(mode)
    verdict = marks.over_float(row, mode)
    return None if ratio is None else Figure(ratio["median"], "times", ratio["low"], ratio["high"], verdict)


def map_drop_of(row: Row) -> Figure | None:
    """Points of mAP that the engine loses against FP32 of its backend; below zero it gains."""
    found = row["difference"].get("map")
    if found is None or found["value"] is None:
        return None if row["map_drop"] is None else Figure(row["map_drop"], "points")
    low, high = found["low"], found["high"]
    return Figure(-found["value"], "points", None if high is None else -high, None if low is None else -low)
