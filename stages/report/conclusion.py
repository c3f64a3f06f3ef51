"""What a report comes to, in the words that the terminal, the page and MLflow show alike: which engine to use, or why
none, and whether a change of mAP can be told from zero.

The choice is the report's own (``ship``, see `stages/report/ship.py`); here it is put into words.
"""

from __future__ import annotations

from dataclasses import dataclass

from stages.report import marks, points
from stages.report.rows import BASE
from stages.report.schema import ReportContent, Row
from stages.report.tables import row_name

GOOD, UNSURE, NONE = "good", "unsure", "none"
CHANCE, NO_INTERVAL = "cannot be told from zero", "has no interval"
LOSS, GAIN = "is a certain loss", "is a certain gain"


@dataclass(frozen=True)
class Conclusion:
    """``kind``: ``GOOD``, ``UNSURE`` (what speaks for the engine was disturbed) or ``NONE``."""

    kind: str
    headline: str
    """Without a full stop."""
    row: Row | None
    """The engine to use; ``None`` of ``NONE``."""
    why: str
    """Sentences: what the choice rests on, or why there is none."""


def conclude(report: ReportContent) -> Conclusion:
    """Which engine of a report to use, and why."""
    rows = report["rows"]
    timed = [row for row in rows if row["latency"]["runtime"]]
    if ship := report.get("ship"):
        wanted = (ship["backend"], ship["precision"])
        if chosen := [row for row in rows if (row["backend"], row["precision"]) == wanted]:
            return _use(chosen[0], ship["sentence"])
    if len(timed) == 1 and timed[0]["status"] == "ok":
        return _use(timed[0], "It is the only engine that was timed.")
    reasons = [
        f"{row_name(row)}: {(row['error'] or row['status']).splitlines()[0]}" for row in rows if row["status"] != "ok"
    ]
    if reasons:
        return Conclusion(NONE, "No engine can be used", None, f"{'; '.join(dict.fromkeys(reasons)).rstrip('.')}.")
    if timed:
        why = "Each loses more mAP than may be lost; see the report."
        return Conclusion(NONE, "No engine is fit to be used", None, why)
    scored = any(row["map"] is not None for row in rows)
    return Conclusion(NONE, "No engine can be used", None, "None was timed." if scored else "None was built.")


def certainty(row: Row) -> str | None:
    """What the interval of the row's change of mAP against FP32 says of it, as the end of "which ..."; ``None`` where
    there is no change to speak of: of FP32, and without scores."""
    if row["precision"] == BASE or row["map"] is None:
        return None
    bounds = points.interval_of(row)
    if bounds is None:
        return NO_INTERVAL
    low, high = bounds
    return CHANCE if low <= 0 <= high else LOSS if high < 0 else GAIN


def _use(row: Row, why: str) -> Conclusion:
    if is_valid(row):
        return Conclusion(GOOD, f"Use {row_name(row)}", row, why)
    return Conclusion(UNSURE, f"Use {row_name(row)}, once a quiet timing confirms it", row, why)


def is_valid(row: Row) -> bool:
    """Whether the number that speaks for an engine can be relied on: the ratio, where there is one."""
    if row["speedup"]["runtime"] is None:
        return marks.is_valid(marks.timing(row, "runtime"))
    return marks.is_valid(marks.speedup(row, "runtime"))
