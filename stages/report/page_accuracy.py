"""The HTML report's parts on what the engines find: accuracy, scores, agreement, worst images."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from stages.report.html_elements import digits, name_of, section, table_element
from stages.report.tables import COLUMNS, Table, class_table


def accuracy(report: dict[str, Any], figures: Mapping[str, str]) -> str:
    table = class_table(report)
    if len(table.header) <= 2:
        return ""
    sizes = []
    for row in report["rows"]:
        if row["accuracy"]:
            names = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR_100")
            values = [row["accuracy"].get(k) for k in names]
            sizes.append([name_of(row), *("None" if v is None else f"{100 * v:.1f}" for v in values)])
    header = ["Engine", "AP", "AP50", "AP75", "small", "medium", "large", "AR100"]
    made = "".join(
        f"<figure>{svg}<figcaption>AP per class on {escape(name.removeprefix('classes-'))}, and what changed against "
        "FP32 with 95 % intervals from resampling the images.</figcaption></figure>"
        for name, svg in figures.items()
        if name.startswith("classes-")
    )
    images = next((r["accuracy"].get("images") for r in report["rows"] if r["accuracy"]), None)
    return (
        f'<h2>Accuracy</h2><p class="note">COCO\'s metrics on {images} images, in points.</p>'
        + table_element(Table("", header, sizes))
        + (f'<h3>Per class</h3><div class="figures wide">{made}</div>' if made else "")
        + f"<details><summary>{len(table.rows)} classes</summary>{table_element(table)}</details>"
    )


def calibration(comparisons: Sequence[tuple[Mapping[str, Any], Path]]) -> str:
    lines = []
    for told, _ in comparisons:
        found = told["calibration"]
        shift = found["shift"]
        lines.append(
            [
                f"{told['backend']} {COLUMNS.get(told['other'], told['other'])}",
                *(digits(shift[k], 3, "+") for k in ("mean", "p5", "p95")),
                str(shift["boxes"]),
                *(digits(found[k]["error"], 3) for k in ("base", "other")),
                digits(told["threshold"], 2),
                f"{told['image_loss']['worse']} / {told['image_loss']['better']}",
            ]
        )
    header = [
        "Engine", "Score shift, mean", "5 %", "95 %", "Boxes found by both", "Calibration error, FP32", "this engine",
        "FP32's best threshold", "Images worse / better",
    ]  # fmt: skip
    note = (
        "How scores moved against FP32 on the boxes that both found: with a shift, a threshold tuned on FP32 no longer "
        "fits. Calibration error: mean distance of score and share of hits."
    )
    return section(Table("Scores", header, lines), note, if_any=True)


def agreement(report: dict[str, Any]) -> str:
    found = report.get("agreement")
    if not found:
        return ""
    lines = []
    for name, values in zip(found["names"], found["f1"], strict=True):
        cells = "".join(
            f'<td class="number" style="background:rgba(5,150,105,{max(0.0, (v - 0.5) * 0.9):.2f})">{v:.3f}</td>'
            for v in values
        )
        lines.append(f"<tr><td class=key>{escape(name)}</td>{cells}</tr>")
    head = "".join(f"<th class=number>{escape(name)}</th>" for name in found["names"])
    note = (
        f"Share of the boxes of two engines (scores from {found['score']:.2f} on, {found['images']} images) that have "
        "a partner of the same class with an IoU of 0.5: 1 is the same boxes. The reference is the exported graph, run "
        "node by node."
    )
    header = ["Engine", "Verdict", "Boxes", "With a partner", "Mean IoU", "Mean score difference", "Largest"]
    judged = [
        [f"{e['backend']} {e['precision'].upper()}", e["verdict"] + (f": {e['reason']}" if e["reason"] else ""),
         str(e["boxes"]), f"{e['share']:.1%}",
         *("None" if e[k] is None else f"{e[k]:.4f}" for k in ("iou", "score_difference", "largest_score_difference"))]
        for e in found["engines"]
    ]  # fmt: skip
    of = section(Table("Against the reference of the same precision", header, judged), "", if_any=True)
    return (
        f'<h2>Agreement of the engines</h2><p class="note">{note}</p>'
        f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>{of}"
    )


def worst_images(comparisons: Sequence[tuple[Mapping[str, Any], Path]]) -> str:
    parts = []
    for told, folder in comparisons:
        made = ""
        for worst in told["worst"]:
            data = base64.b64encode((folder / worst["picture"]).read_bytes()).decode()
            made += (
                f'<figure><img alt="{escape(worst["file_name"])}" src="data:image/jpeg;base64,{data}">'
                f"<figcaption>{escape(worst['file_name'])}: F1 {worst['base_f1']:.2f} → {worst['other_f1']:.2f}"
                "</figcaption></figure>"
            )
        if made:
            name = f"{told['backend']} {COLUMNS.get(told['other'], told['other'])}"
            parts.append(f'<h3>{escape(name)}</h3><div class="figures wide">{made}</div>')
    if not parts:
        return ""
    note = (
        "The images that lose most F1 (mean over IoU 0.50 to 0.95) at FP32's best threshold. Left FP32, right the "
        "other; hits green, false alarms red, boxes not found yellow."
    )
    return f'<h2>Worst images</h2><p class="note">{note}</p>{"".join(parts)}'
