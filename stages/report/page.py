"""The report as one HTML page that needs nothing beside itself: what ``templates/report.html.j2`` is given."""

from __future__ import annotations

import json
from collections.abc import Mapping

from stages.report import float_blocks as words
from stages.report import light, search, thresholds, throughput
from stages.report.bars import bars
from stages.report.gates import LEFT_OUT, tally
from stages.report.html import render as render_template
from stages.report.intervals import dominated
from stages.report.markdown import GATES, explained
from stages.report.page_audits import audit_items
from stages.report.page_items import (
    Accuracy,
    Agreement,
    Badge,
    Blocks,
    Figure,
    Gallery,
    Image,
    Page,
    Section,
    Share,
)
from stages.report.page_parts import PageParts
from stages.report.page_profiles import profile_items
from stages.report.page_tables import (
    durations,
    end2end_parts,
    engine_tables,
    gpu_parts,
    main_table,
    score_shifts,
    size_table,
    verdicts_on_agreement,
)
from stages.report.rows import MODES
from stages.report.schema import ReportContent, Training
from stages.report.tables import (
    METHODS,
    class_table,
    earlier_timings,
    engine_name,
    gate_table,
    left_out,
    missing,
)
from stages.report.terms import TERMS
from stages.report.training import NAMES as CURVES
from stages.report.verdict import verdict, warned

CAPTIONS = {
    "pareto": "Latency against mAP: up and to the left is better. Bars: 95 % intervals, upwards of the difference to "
    "FP32, sideways of the median.",
    "latency-runtime": "Runtime: the share of runs that took at most so long. Marks are medians.",
    "latency-end2end": "End2End: the share of runs that took at most so long. Marks are medians.",
}
WORST = "The images that lose most F1 (mean over IoU 0.50 to 0.95) at FP32's best threshold."
TYPICAL = (
    "Images in the middle: what they lose, and how well FP32 does on them, is nearest to the median of all images."
)
CLASSES, CURVE = "classes-", "curve-"
CLASS_CAPTION = "AP per class on {}, and what changed against FP32 with 95 % intervals from resampling the images."
SETS = {"train": "training", "val": "validation", "unlabeled": "unlabeled", "calibration": "calibration"}


def render(report: ReportContent, parts: PageParts) -> str:
    """``report.html`` of a ``report.json`` and what was kept beside it."""
    return render_template("report.html.j2", page=describe(report, parts))


def describe(report: ReportContent, parts: PageParts) -> Page:
    """The page's content."""
    rows, figures = report["rows"], parts.figures
    model = report["model"] or "Detector"
    about = [report["hardware"], METHODS.get(report["method"], report["method"]), f"seed {report['seed']}"]
    return Page(
        title=f"{model} on {report['data']}" if report["data"] else model,
        status=report["status"],
        gates_badge=_gates_badge(report),
        run_id=report["run_id"],
        about=[fact for fact in about if fact],
        command=report["command"],
        verdict=verdict(report),
        warned=warned(report),
        missing=missing(report),
        left_out=left_out(report),
        bars=bars(rows),
        results=[
            *_filled(Section(gate_table(report), GATES)),
            *[main_table(report, mode, explained(report, mode)) for mode in MODES],
        ],
        figures=_figures(report, figures),
        details=[*engine_tables(report), *_throughput(report), *_filled(end2end_parts(rows), gpu_parts(rows))],
        profiles=profile_items(report),
        search=_search(report, figures),
        float_blocks=_float_blocks(report, figures),
        accuracy=_accuracy(report, figures),
        scores=[*_filled(score_shifts(parts.comparisons)), *_thresholds(report)],
        audits=audit_items(rows),
        agreement=_agreement(report),
        galleries=_galleries(parts),
        origin=_origin(report),
        facts=_facts(report),
        curves=[
            Figure(figures[name], _curve_caption(one))
            for one in report.get("training", [])
            if (name := CURVE + one["stage"]) in figures
        ],
        durations=durations(report),
        attachments=_attachments(report, parts),
        terms=list(TERMS.items()),
    )


def _filled(*sections: Section) -> list[Section]:
    return [section for section in sections if section.table.rows]


def _gates_badge(report: ReportContent) -> list[Badge]:
    gates = report["gates"]
    if not gates:
        return []
    judged = sum(gate["verdict"] != LEFT_OUT for gate in gates)
    if not judged:
        return [Badge("unavailable", "no gate could be judged here")]
    counted = tally(gates)
    return [Badge("fail", counted) if counted else Badge("pass", f"all {judged} gates pass")]


def _figures(report: ReportContent, figures: Mapping[str, str]) -> list[Figure]:
    beaten = "; ".join(f"{name} by {other}" for name, other in dominated(report["rows"]).items())
    more = {"pareto": f" Pale: dominated with 95 % certainty ({beaten})." if beaten else " None dominates another."}
    return [Figure(figures[name], text + more.get(name, "")) for name, text in CAPTIONS.items() if name in figures]


def _facts(report: ReportContent) -> list[tuple[str, str]]:
    """What the engines were made of: the model's size, the images."""
    facts = []
    if size := report.get("size"):
        height, width = size["input_size"]
        facts.append(("Parameters", f"{size['parameters'] / 1e6:.2f} million"))
        if size["multiply_adds"] is not None:
            work = size["multiply_adds"] / 1e9
            facts.append(
                ("GFLOPs", f"{2 * work:.2f} ({work:.2f} thousand million multiply-adds) at {width} × {height}")
            )
    if lighter := report.get("lightened"):
        facts.append(("INT8 is of a lighter model", light.relieved(lighter)))
    for one in report.get("images", []):
        boxes = "" if one["boxes"] is None else f" with {one['boxes']} boxes"
        facts.append((f"Images, {SETS.get(one['name'], one['name'])}", f"{one['images']}{boxes}"))
    for training in report.get("training", []):
        images = "" if training["images"] is None else f" on {training['images']} images"
        facts.append((CURVES.get(training["stage"], training["stage"]), f"{training['steps']} steps{images}"))
    return facts


def _curve_caption(training: Training) -> str:
    name = CURVES.get(training["stage"], training["stage"])
    method = f" ({METHODS.get(training['method'], training['method'])})" if training["method"] else ""
    kept = f" The dashed line: step {training['best']}, which was kept." if training["best"] is not None else ""
    return f"{name}{method}: the loss by step.{kept}"


def _float_blocks(report: ReportContent, figures: Mapping[str, str]) -> list[Blocks]:
    content = report["float_blocks"]
    if not content:
        return []
    tables = words.tables(report)
    notes = [words.explained(content), *[""] * len(tables)]
    sections = [Section(table, note) for table, note in zip(tables, notes, strict=False)]
    plots = [Figure(figures["sensitivity"])] if "sensitivity" in figures else []
    return [Blocks(content["met"], words.headline(report), sections, plots)]


def _throughput(report: ReportContent) -> list[Section]:
    if not report.get("throughput"):
        return []
    told = [throughput.explained(report), *(f"{sentence}." for sentence in throughput.notes(report))]
    return [Section(throughput.table(report), " ".join(part for part in told if part))]


def _search(report: ReportContent, figures: Mapping[str, str]) -> list[Blocks]:
    content = report.get("search")
    if not content:
        return []
    plots = [Figure(figures["search"], search.CAPTION)] if "search" in figures else []
    sections = [Section(search.table(content), search.explained(content))]
    return [Blocks(content["met"], search.headline(report), sections, plots)]


def _thresholds(report: ReportContent) -> list[Section]:
    return [
        Section(table, thresholds.explained(content) if number == 0 else "")
        for content in report.get("thresholds", [])
        for number, table in enumerate(thresholds.tables(content))
    ]


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


def _galleries(parts: PageParts) -> list[Gallery]:
    found = []
    for title, note, chosen in (
        ("Worst images", WORST, [(c, c["worst"]) for c in parts.comparisons]),
        ("Typical images", TYPICAL, [(c, c.get("typical", [])) for c in parts.comparisons]),
    ):
        engines = [
            (
                engine_name(compared["backend"], compared["other"]),
                [
                    Image(w["file_name"], f"{w['base_f1']:.2f} → {w['other_f1']:.2f}", parts.data_url(w["picture"]))
                    for w in images
                ],
            )
            for compared, images in chosen
            if images
        ]
        if engines:
            found.append(Gallery(title, note, engines))
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
