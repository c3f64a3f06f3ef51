"""The one mark of numbers that cannot be believed: a timing, or a ratio of timings, whose verdict is not ``valid``.

Every table, page, plot, list and record that shows or uses such a number asks here.
"""

from __future__ import annotations

from stages.report.schema import Row
from stages.report.schema_engines import Bounds

VALID, STAR = "valid", "*"
DISTURBED = "timing disturbed"
"""What is said of numbers that cannot be compared."""
LEGEND = "* timing disturbed: the number cannot be relied on"


def is_valid(verdict: str | None) -> bool:
    """Whether nothing speaks against a number; ``None``: nothing is known, or there is no number."""
    return verdict in (None, VALID)


def star(verdict: str | None) -> str:
    """What stands behind the number."""
    return "" if is_valid(verdict) else STAR


def why(verdict: str | None) -> str:
    """What disturbed a timing, in words; empty if nothing did."""
    return "" if verdict is None or is_valid(verdict) else verdict.removeprefix("invalid: ")


def while_disturbed(verdict: str | None) -> str:
    """What follows a number in a sentence: `` (measured while disturbed: why)``, or nothing."""
    return "" if is_valid(verdict) else f" (measured while disturbed: {why(verdict)})"


def timing(row: Row, mode: str) -> str | None:
    """The verdict on the times of a row; the rows of a list of runs may lack it."""
    return (row.get("validity") or {}).get(mode)


def speedup(row: Row, mode: str) -> str | None:
    """The verdict on a row's speed-up over FP32; in a report of before there were such, that on its times."""
    verdicts = row.get("speedup_validity")
    return timing(row, mode) if verdicts is None else verdicts.get(mode)


def over_float(row: Row, mode: str) -> str | None:
    """The verdict on a row's speed-up over the fastest float engine, likewise."""
    over = (row.get("over_float") or {}).get(mode)
    return None if over is None else of_ratio(over, timing(row, mode))


def of_ratio(ratio: Bounds, otherwise: str | None = None) -> str | None:
    """The verdict that a ratio carries; ``otherwise`` of one of before there were such."""
    return ratio.get("verdict", otherwise)
