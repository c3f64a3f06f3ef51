"""The report as one HTML page that needs nothing beside itself: what ``templates/report.html.j2`` is given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from stages.numerics.variants import is_float, title_of
from stages.report import float_blocks as words
from stages.report import marks
from stages.report.gates import tally
from stages.report.html import render as render_template
from stages.report.markdown import DETAILS, EXPLAINED, GATES
from stages.report.page_items import (
    Accuracy,
    Agreement,
    Badge,
    Blocks,
    Card,
    EngineAudit,
    Figure,
    Format,
    Image,
    Page,
    Section,
    Share,
)
from stages.report.page_parts import PageParts
from stages.report.page_tables import (
    end2end_parts,
    gpu_parts,
    numbers_first,
    score_shifts,
    size_table,
    verdicts_on_agreement,
)
from stages.report.rows import BASE, MODES
from stages.report.schema import ReportContent, Row
from stages.report.ship import bounded
from stages.report.tables import (
    METHODS,
    class_table,
    detail_table,
    earlier_timings,
    engine_name,
    gate_table,
    invalid_timings,
    latency_table,
    left_out,
    missing,
    row_name,
)

FORMAT_COLOURS = {"int8": "#059669", "fp16": "#0891b2", "bf16": "#0891b2", "fp32": "#ea580c"}
OTHER_COLOUR = "#6b7280"
CAPTIONS = {
    "pareto": "Latency against mAP: up and to the left is better. A bar: 95 % interval of the difference to FP32.",
    "latency-runtime": "Runtime: the share of runs that took at most so long. Dots are medians.",
    "latency-end2end": "End2End: the share of runs that took at most so long. Dots are medians.",
}
CLASSES = "classes-"
CLASS_CAPTION = "AP per class on {}, and what changed against FP32 with 95 % intervals from resampling the images."


def render(report: ReportContent, parts: PageParts) -> str:
    """``report.html`` of a ``report.json`` and what was kept beside it."""
    return render_template("report.html.j2", page=describe(report, parts))


def describe(report: ReportContent, parts: PageParts) -> Page:
    """The page's content."""
    rows, figures = report["rows"], parts.figures
    model = report["model"] or "Detector"
    about = [report["hardware"], METHODS.get(report["method"], report["method"]), f"seed {report['seed']}"]
    main = [Section(numbers_first(latency_table(report, mode)), EXPLAINED[mode]) for mode in MODES]
    return Page(
        title=f"{model} on {report['data']}" if report["data"] else model,
        status=report["status"],
        gates_badge=_gates_badge(report),
        run_id=report["run_id"],
        about=[fact for fact in about if fact],
        command=report["command"],
        ship=[ship["sentence"]] if (ship := report.get("ship")) else [],
        cards=[card for row in rows for card in _cards(row)],
        invalid_timings=invalid_timings(report),
        missing=missing(report),
        left_out=left_out(report),
        results=[*_filled(Section(gate_table(report), GATES)), *main],
        figures=[Figure(figures[name], caption) for name, caption in CAPTIONS.items() if name in figures],
        details=[Section(detail_table(report), DETAILS), *_filled(end2end_parts(rows), gpu_parts(rows))],
        float_blocks=_float_blocks(report, figures),
        accuracy=_accuracy(report, figures),
        scores=_filled(score_shifts(parts.comparisons)),
        audits=_audits(rows),
        agreement=_agreement(report),
        worst_images=_worst_images(parts),
        origin=_origin(report),
        attachments=_attachments(report, parts),
    )


def _filled(*sections: Section) -> list[Section]:
    return [section for section in sections if section.table.rows]


def _gates_badge(report: ReportContent) -> list[Badge]:
    gates = report["gates"]
    if not gates:
        return []
    counted = tally(gates)
    return [Badge("fail", counted) if counted else Badge("pass", "all gates pass")]


def _cards(row: Row) -> list[Card]:
    """Of an engine of reduced precision: how much faster, how much worse, how much of it in INT8."""
    cards = []
    name, ratio, bounds = row_name(row), row["speedup"]["runtime"], row["speedup_interval"]["runtime"]
    if ratio is not None:
        remark = f"95 %: {bounds[0]:.2f} to {bounds[1]:.2f}" if bounds else "no interval"
        over = (row.get("over_float") or {}).get("runtime")
        if over is not None and over["against"] != BASE:
            remark += f" · over {title_of(over['against'])} {bounded(over)}"
        valid = marks.is_valid(marks.speedup(row, "runtime"))
        cards.append(Card(f"{name}: speed-up, Runtime", f"{ratio:.2f}×", remark, valid))
    if row["map_drop"] is not None and row["map"] is not None:
        remark = f"FP32 {row['map'] + row['map_drop']:.1f}, now {row['map']:.1f}"
        change = row["difference"].get("map")
        if change and change["low"] is not None:
            remark += f" · 95 %: {change['low']:+.1f} to {change['high']:+.1f}"
        cards.append(Card(f"{name}: mAP", f"{-row['map_drop']:+.1f}", remark))
    if row["int8_share"] is not None and not is_float(row["precision"]):
        size = "" if row["engine_bytes"] is None else f"engine {row['engine_bytes'] / 1e6:.1f} MB"
        cards.append(Card(f"{name}: in INT8", f"{row['int8_share']:.0%}", f"of multiply-adds · {size}"))
    return cards


def _float_blocks(report: ReportContent, figures: Mapping[str, str]) -> list[Blocks]:
    content = report["float_blocks"]
    if not content:
        return []
    tables = words.tables(report)
    notes = [words.explained(content), *[""] * len(tables)]
    sections = [Section(table, note) for table, note in zip(tables, notes, strict=False)]
    plots = [Figure(figures["sensitivity"])] if "sensitivity" in figures else []
    return [Blocks(content["met"], words.headline(report), sections, plots)]


def _accuracy(report: ReportContent, figures: Mapping[str, str]) -> list[Accuracy]:
    classes = class_table(report)
    if len(classes.header) <= 2:
        return []
    images = next((row["accuracy"].get("images") for row in report["rows"] if row["accuracy"]), None)
    drawn = [
        Figure(svg, CLASS_CAPTION.format(name.removeprefix(CLASSES)))
        for name, svg in figures.items()
        if name.startswith(CLASSES)
    ]
    return [Accuracy(images, size_table(report), drawn, classes)]


def _audits(rows: Sequence[Row]) -> list[EngineAudit]:
    return [
        EngineAudit(
            row_name(row),
            [
                Format(name.upper(), share, audit["layers"].get(name, 0), FORMAT_COLOURS.get(name, OTHER_COLOUR))
                for name, share in audit["share"].items()
            ],
            audit["float_layers"] if not is_float(row["precision"]) else [],
        )
        for row in rows
        if (audit := row["audit"])
    ]


def _agreement(report: ReportContent) -> list[Agreement]:
    content = report["agreement"]
    if not content:
        return []
    matrix = [
        (name, [Share(f"{share:.3f}", f"{max(0.0, (share - 0.5) * 0.9):.2f}") for share in shares])
        for name, shares in zip(content["names"], content["f1"], strict=True)
    ]
    sections = _filled(verdicts_on_agreement(content))
    return [Agreement(f"{content['score']:.2f}", content["images"], content["names"], matrix, sections)]


def _worst_images(parts: PageParts) -> list[tuple[str, list[Image]]]:
    found = []
    for compared in parts.comparisons:
        images = [
            Image(w["file_name"], f"{w['base_f1']:.2f} → {w['other_f1']:.2f}", parts.data_url(w["picture"]))
            for w in compared["worst"]
        ]
        if images:
            found.append((engine_name(compared["backend"], compared["other"]), images))
    return found


def _origin(report: ReportContent) -> str:
    commit = f"Commit {report['commit']}." if report["commit"] else ""
    return " ".join(part for part in (f"{report['hardware']}.", commit, earlier_timings(report)) if part)


def _attachments(report: ReportContent, parts: PageParts) -> list[tuple[str, str]]:
    versions = sorted((parts.versions or {}).items(), key=lambda version: version[0].lower())
    texts = [
        ("Config", parts.config),
        ("Versions", "\n".join(f"{name} {version}" for name, version in versions)),
        ("The tables of this page as JSON", json.dumps(report["tables"], indent=1)),
    ]
    return [(title, text) for title, text in texts if text.strip()]
