"""Points of mAP as every table, card and figure shows them: one rounding, one sign.

A change is an engine − what it is compared with: below zero it lost accuracy. It is the difference of the two numbers
as they are shown, so that 39.9 → 39.6 is -0.3 wherever it stands.
"""

from __future__ import annotations

from stages.report.schema import Row

DIGITS = 1


def rounded(value: float) -> float:
    """Points (0 to 100) as they are shown; never a negative zero."""
    return round(round(value, 9), DIGITS) + 0.0  # nine digits first: a sum may miss a tie by its last bit


def change(first: float, second: float) -> float:
    """From ``first`` to ``second``, both in points, by what is shown of them."""
    return rounded(rounded(second) - rounded(first))


def base_of(row: Row) -> float | None:
    """FP32's mAP on the row's backend; ``None`` of FP32 itself, and where one of the two was not scored."""
    return None if row["map"] is None or row["map_drop"] is None else row["map"] + row["map_drop"]


def change_of(row: Row) -> float | None:
    """How the row's mAP differs from FP32's."""
    base = base_of(row)
    return None if base is None or row["map"] is None else change(base, row["map"])


def signed(value: float) -> str:
    """``+0.3``, ``-0.3``, and ``0.0`` without a sign."""
    shown = rounded(value)
    return f"{shown:+.{DIGITS}f}" if shown else f"{shown:.{DIGITS}f}"


def between(value: float, low: float, high: float) -> str:
    """An interval in words; rounded, it still holds the change ``value`` as it is shown."""
    return f"{signed(min(rounded(low), value))} to {signed(max(rounded(high), value))}"


def told(row: Row) -> str | None:
    """``-0.3 (-0.8 to +0.2)``: the change against FP32 and its 95 % interval, if there is one."""
    moved, bounds = change_of(row), interval_of(row)
    if moved is None:
        return None
    return signed(moved) if bounds is None else f"{signed(moved)} ({between(moved, *bounds)})"


def interval_of(row: Row) -> tuple[float, float] | None:
    """The 95 % interval of the change against FP32, not rounded."""
    difference = row["difference"].get("map")
    if difference is None or difference["low"] is None or difference["high"] is None:
        return None
    return difference["low"], difference["high"]
