"""The bar chart of latencies on the page: a bar per engine and mode, with the median's interval."""

from __future__ import annotations

from collections.abc import Sequence

from stages.report.intervals import of_median
from stages.report.page_items import Bar, Bars
from stages.report.rows import MODES
from stages.report.schema import Row
from stages.report.style import styles
from stages.report.tables import MODE_NAMES, row_name


def bars(rows: Sequence[Row]) -> list[Bars]:
    """A chart per mode that was timed; the axis begins at zero and ends at the longest bar's interval."""
    return [made for mode in MODES if (made := _mode(rows, mode)).bars]


def _mode(rows: Sequence[Row], mode: str) -> Bars:
    looks = styles(rows)
    timed = [(row, latency) for row in rows if (latency := row["latency"][mode])]
    intervals = {row_name(row): of_median(latency) for row, latency in timed}
    longest = max((latency["median_ms"] for _, latency in timed), default=1.0)
    # An interval far beyond its bar would press all bars together.
    ends = [bounds[1] for bounds in intervals.values() if bounds and bounds[1] < 2 * longest]
    whole = 1.02 * max([longest, *ends]) or 1.0
    made = []
    for row, latency in timed:
        bounds, look = intervals[row_name(row)], looks[row["backend"], row["precision"]]
        ratio, between = row["speedup"][mode], row["speedup_interval"][mode]
        note = (
            ""
            if ratio is None
            else f"{ratio:.2f}×" + (f" (95 %: {between[0]:.2f} to {between[1]:.2f})" if between else "")
        )
        made.append(
            Bar(
                name=row_name(row),
                colour=look.number,
                fill=look.fill,
                share=f"{100 * latency['median_ms'] / whole:.2f}",
                interval=_place(bounds, whole) if bounds else None,
                text=f"{latency['median_ms']:.2f} ms",
                note=note,
                valid=row["validity"][mode] in (None, "valid"),
                tip=f"{MODE_NAMES[mode]}, median {latency['median_ms']:.2f} ms"
                + (f", 95 %: {bounds[0]:.2f} to {bounds[1]:.2f}" if bounds else ""),
            )
        )
    return Bars(MODE_NAMES[mode], made)


def _place(bounds: tuple[float, float], whole: float) -> tuple[str, str]:
    """Left end and width, percent of the axis."""
    left, right = (100 * min(value / whole, 1.0) for value in bounds)
    return f"{left:.2f}", f"{right - left:.2f}"
