"""Points of mAP as every table, card and figure shows them: one rounding, one sign.

A change is an engine − what it is compared with: below zero it lost accuracy. It is the difference of the two numbers
as they are shown, so that 39.9 → 39.6 is -0.3 wherever it stands.
"""

from __future__ import annotations

import math

from stages.report.schema import Row

DIGITS = 1
_MOST_DIGITS = 4


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
    """An interval in words; rounded, it still holds the change ``value`` as it is shown, and each end is on its own
    side of zero, so that an interval which does not hold zero never looks as if it did."""
    return f"{_end(low, min(rounded(low), value))} to {_end(high, max(rounded(high), value))}"


def at_most(bound: float, limit: float) -> str:
    """An upper bound, rounded upwards, with as few digits as show on which side of ``limit`` it is: 0.54 is ``0.6``
    beside 0.5, and ``0.54`` beside 0.55."""
    for digits in range(DIGITS, _MOST_DIGITS):
        shown = math.ceil(round(bound * 10**digits, 9)) / 10**digits + 0.0
        if (shown > limit) == (bound > limit):
            return f"{shown:.{digits}f}"
    return f"{bound:.{_MOST_DIGITS}g}"


def against_fp32(row: Row) -> str | None:
    """The change in words, as a sentence says it: ``it loses 0.3 points against FP32 (95 %: -0.2 to +0.8)``.

    The interval is of what the verb says, so that of a loss it counts upwards. ``None`` as of ``change_of``.
    """
    moved, bounds = change_of(row), interval_of(row)
    if moved is None:
        return None
    sign = -1 if moved < 0 or (moved == 0 and bounds is not None and sum(bounds) < 0) else 1
    text = f"it {'loses' if sign < 0 else 'gains'} {abs(moved):.{DIGITS}f} points against FP32"
    if bounds is None:
        return text
    low, high = sorted(sign * bound for bound in bounds)
    return f"{text} (95 %: {between(abs(moved), low, high)})"


def _end(exact: float, shown: float) -> str:
    """An end as it is shown; one that rounds to zero keeps its first digit, since its sign decides."""
    if shown or abs(exact) < 10**-_MOST_DIGITS:
        return signed(shown)
    return f"{exact:+.1g}"


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
