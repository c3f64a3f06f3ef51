"""The report as Markdown."""

from __future__ import annotations

from stages.report import float_blocks, light, marks, points, profiles, search, thresholds, throughput
from stages.report.markdown_text import code, escape
from stages.report.rows import MODES
from stages.report.schema import ReportContent
from stages.report.schema_profile import Profiles
from stages.report.tables import (
    METHODS,
    Table,
    class_table,
    detail_table,
    earlier_timings,
    gate_table,
    invalid_timings,
    latency_table,
    left_out,
    missing,
    row_name,
)


def render(report: ReportContent) -> str:
    """``report.md`` of a ``report.json``."""
    about = [
        ("Run", escape(report["run_id"])),
        ("Data", escape(report["data"])),
        ("Hardware", escape(report["hardware"])),
        ("Compression", escape(METHODS.get(report["method"], report["method"]))),
        ("Seed", str(report["seed"])),
        ("Command", code(report["command"]) if report["command"] else ""),
    ]
    parts = [f"# {escape(report['model']) or 'Detector'}: measured engines"]
    parts.append("\n".join(f"- {name}: {value}" for name, value in about if value))
    if ship := report.get("ship"):
        parts.append(f"**{escape(ship['sentence'])}**")
    parts += [f"**{escape(sentence)}**" for sentence in _headlines(report)]
    told = (light.headline(report), search.headline(report), float_blocks.headline(report))
    parts += [escape(said) for said in told if said]
    gates = gate_table(report)
    if gates.rows:
        parts += _section(gates, GATES)
    for mode in MODES:
        parts += _section(latency_table(report, mode), explained(report, mode))
    invalid = invalid_timings(report)
    if invalid:
        parts.append("\\* Measured while disturbed, not valid:")
        parts.append("\n".join(f"- {escape(sentence)}" for sentence in invalid))
    if absent := left_out(report):
        parts.append("Columns that a backend has nothing for:")
        parts.append("\n".join(f"- {escape(sentence)}" for sentence in absent))
    parts += _section(detail_table(report), DETAILS)
    if where := report.get("profiles"):
        parts += _profiles(where)
    if report.get("throughput"):
        parts += _section(throughput.table(report), escape(throughput.explained(report)))
        if notes := throughput.notes(report):
            parts.append("\n".join(f"- {escape(sentence)}" for sentence in notes))
    if path := report.get("search"):
        parts += _section(search.table(path), escape(search.explained(path)))
    if report["float_blocks"]:
        notes = [escape(float_blocks.explained(report["float_blocks"]))]
        for table in float_blocks.tables(report):
            parts += _section(table, notes.pop() if notes else "")
    classes = class_table(report)
    if len(classes.header) > 2:
        parts += _section(classes, "Points, over IoU 0.50 to 0.95.")
    for content in report.get("thresholds", []):
        notes = [escape(thresholds.explained(content))]
        for table in thresholds.tables(content):
            parts += _section(table, notes.pop() if notes else "")
    if report["failures"]:
        parts.append("## What is missing")
        parts.append("\n".join(f"- {_failure_line(*one)}" for one in missing(report)))
    if earlier := earlier_timings(report):
        parts.append(escape(earlier))
    return "\n\n".join(parts) + "\n"


GATES = "Where a number has an interval, its worse bound is judged. A drop is a loss against FP32: a change below zero."
DETAILS = (
    "p90 and p99 are of the Runtime samples. Speed-up is over FP32, and over the fastest engine of the backend that is "
    "all in float; mAP change is this engine − FP32, in points, of the two numbers as they are shown. In brackets: "
    "95 % intervals, of speed-ups from round to round, of the change from resampling the images. A star: the timing is "
    "not valid, or has too few samples for that percentile; behind a speed-up: the ratio is not valid. A ratio may be "
    "valid where the times are not."
)
EXPLAINED = {
    "runtime": "The engine alone, from input tensors to output tensors, without pre- and post-processing. Medians.",
    "end2end": "From decoded image to boxes: resizing and normalisation, the engine, NMS outside of it. Medians.",
}
EXPLAINED_INSIDE = {
    "runtime": "The engine alone, from input tensors to output tensors. Medians.",
    "end2end": "From decoded image to boxes: preprocessing, the engine, NMS. Medians.",
}


def explained(report: ReportContent, mode: str) -> str:
    """What a mode's times are of."""
    inside = [row_name(row) for row in report["rows"] if row["nms_in"] == "graph"]
    return f"{EXPLAINED_INSIDE[mode]} NMS is part of the engine in: {', '.join(inside)}." if inside else EXPLAINED[mode]


def _section(table: Table, text: str) -> list[str]:
    if not table.rows:
        return [f"## {table.title}", "Nothing was measured."]
    return [part for part in (f"## {table.title}", text, table.markdown()) if part]


def _profiles(where: Profiles) -> list[str]:
    found = _section(profiles.share_table(where), profiles.EXPLAINED) if where["engines"] else []
    told = [f"- {escape(sentence)}" for sentence in profiles.without(where)]
    return [*found, *(["\n".join(told)] if told else [])]


def _headlines(report: ReportContent) -> list[str]:
    """One sentence for each reduced-precision engine that was timed or scored."""
    found = []
    for row in report["rows"]:
        faster, moved = row["speedup"]["runtime"], points.change_of(row)
        facts = []
        if faster is not None:
            disturbed = marks.while_disturbed(marks.speedup(row, "runtime"))
            facts.append(f"{faster:.2f} times the speed of FP32{disturbed}")
        if moved is not None:
            facts.append(f"mAP {row['map']:.1f} ({points.signed(moved)} points)")
        if facts:
            found.append(f"{row_name(row)}: {', '.join(facts)}.")
    return found


def _failure_line(stages: list[str], status: str, error: str) -> str:
    return f"{', '.join(map(code, stages))} {status}: {escape(error)}"
