"""The head of the page: which engine to use and whether its numbers can be relied on, and one warning for all timings
that were disturbed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from stages.numerics.variants import is_float, title_of
from stages.report import marks, points
from stages.report.conclusion import CHANCE, GAIN, LOSS, certainty, conclude, is_valid
from stages.report.page_items import Card, Verdict, Warned
from stages.report.rows import BASE
from stages.report.schema import ReportContent, Row
from stages.report.ship import bounded
from stages.report.tables import invalid_ratios, invalid_times, row_name

_PERCENT = re.compile(r"\s*\(([^()]*?)(\d+)\s?%([^()]*)\)")


def verdict(report: ReportContent) -> Verdict | None:
    """Which engine to use, in the words of `stages/report/conclusion.py`, and the numbers of that one.

    Where there is none, the numbers are those of the first engine that was compressed. ``None`` of a report without
    engines.
    """
    if not report["rows"]:
        return None
    found = conclude(report)
    measured = [row for row in report["rows"] if row["latency"]["runtime"] or row["map"] is not None]
    if found.row is not None or not measured:
        return Verdict(found.kind, found.headline, _cards(found.row) if found.row else [], found.why)
    shown = next((row for row in measured if row["precision"] != BASE), measured[0])
    why = f"{found.why} The numbers are those of {row_name(shown)}."
    return Verdict(found.kind, found.headline, _cards(shown), why)


def warned(report: ReportContent) -> Warned | None:
    """One warning for all disturbed timings: how many, by what, and what to do."""
    sentences = invalid_times(report)
    if not sentences:
        return None
    total = sum(latency is not None for row in report["rows"] for latency in row["latency"].values())
    command = report["command"]
    again = f"{command} run.reuse_latency=false" if command and "run.reuse_latency" not in command else command
    why = causes([s.partition("invalid: ")[2] for s in sentences])
    return Warned(len(sentences), total, why, sentences + invalid_ratios(report), again)


def causes(verdicts: Sequence[str]) -> list[str]:
    """``drift between rounds (17 to 161 %), 16 timings`` for each cause among the verdicts, the most frequent first."""
    found: dict[str, list[int]] = {}
    for text in verdicts:
        for part in text.split("; "):
            percents = [int(number) for _, number, _ in _PERCENT.findall(part)]
            found.setdefault(_PERCENT.sub("", part).strip() or part, []).append(max(percents, default=-1))
    lines = []
    for cause, percents in sorted(found.items(), key=lambda item: -len(item[1])):
        known = sorted(percent for percent in percents if percent >= 0)
        span = "" if not known else f" ({known[0]} %)" if known[0] == known[-1] else f" ({known[0]} to {known[-1]} %)"
        lines.append(f"{cause}{span}: {len(percents)} {'timing' if len(percents) == 1 else 'timings'}")
    return lines


def _cards(row: Row) -> list[Card]:
    return [card for card in (_speed(row), _accuracy(row), _size(row)) if card is not None]


def _speed(row: Row) -> Card | None:
    runtime = row["latency"]["runtime"]
    if runtime is None:
        return None
    ratio, bounds = row["speedup"]["runtime"], row["speedup_interval"]["runtime"]
    milliseconds = f"{runtime['median_ms']:.2f} ms"
    validity = "timing valid" if marks.timing(row, "runtime") == marks.VALID else "timing not checked"
    if ratio is not None and marks.speedup(row, "runtime") == marks.VALID:
        validity = "ratio valid" if marks.star(marks.timing(row, "runtime")) else "timing valid"
    badge = ("pass", validity) if is_valid(row) else ("invalid", "timing disturbed")
    if ratio is None:
        return Card("Speed, Runtime", milliseconds, "the median of the runs", *badge)
    parts = [milliseconds, f"95 %: {bounds[0]:.2f} to {bounds[1]:.2f}" if bounds else "no interval"]
    over = (row.get("over_float") or {}).get("runtime")
    if over is not None and over["against"] != BASE:
        parts.append(f"over {title_of(over['against'])} {bounded(over)}")
    return Card("Speed-up over FP32, Runtime", f"{ratio:.2f}×", " · ".join(parts), *badge)


def _accuracy(row: Row) -> Card | None:
    if row["map"] is None:
        return Card("mAP", "–", "not measured", "invalid", "not measured")
    moved, base = points.change_of(row), points.base_of(row)
    if moved is None or base is None:
        return Card("mAP", f"{row['map']:.1f}", "points, of FP32 itself" if row["precision"] == BASE else "points")
    bounds, certain = points.interval_of(row), certainty(row) or ""
    interval = "no interval" if bounds is None else f"95 %: {points.between(moved, *bounds)}"
    kind = {CHANCE: "pass", GAIN: "pass", LOSS: "fail"}.get(certain, "")
    remark = f"FP32 {base:.1f} → {row['map']:.1f} · {interval}"
    return Card("mAP change, points", points.signed(moved), remark, kind, certain if kind else "")


def _size(row: Row) -> Card | None:
    if row["engine_bytes"] is None:
        return None
    if is_float(row["precision"]):
        share = "nothing of it is in INT8"
    else:
        share = "" if row["int8_share"] is None else f"{row['int8_share']:.0%} of multiply-adds in INT8"
    return Card("Engine", f"{row['engine_bytes'] / 1e6:.1f} MB", share)
