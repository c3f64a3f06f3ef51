"""Thresholds that moved with the quantization, for the report: words and tables of ``thresholds.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.outside import records
from stages.report.schema_thresholds import At, ClassThreshold, EngineThresholds, ThresholdsContent
from stages.report.tables import NOTHING, Table, engine_name

if TYPE_CHECKING:
    from stages.artifacts import Thresholds
    from stages.report.schema import ReportContent

FILE = "thresholds.json"
NAMED = 3
"""Classes that a line names one by one."""


def read(results: Sequence[Thresholds]) -> list[ThresholdsContent]:
    """What each backend's engines came to."""
    return [records.read(result.path(FILE), ThresholdsContent) for result in results]


def headlines(report: ReportContent) -> list[str]:
    """A sentence for each engine: which thresholds moved, and what that does to recall."""
    return [
        f"Thresholds of {engine_name(content['backend'], engine['precision'])}: {_moves(engine['classes'])}."
        f"{_recall(engine)}"
        for content in report.get("thresholds", [])
        for engine in content["engines"]
    ]


def explained(content: ThresholdsContent) -> str:
    """How the thresholds were found, and what the columns are."""
    if content["by"] == "labels":
        on = (
            f"By {content['images']} labelled training images, at FP32's precision on them. The model may have been "
            "trained on these images; recall and precision are those of the validation set, where there is one, which "
            "took no part."
        )
    else:
        on = (
            f"There were no labelled training images: by {content['images']} unlabelled ones, where the engine finds "
            "as many boxes as FP32 does. This is agreement with FP32; whether the boxes are right, it does not say."
        )
    return (
        f"{on} In brackets: the 95 % interval, from resampling the images. A threshold whose interval holds FP32's "
        "stays. Recall and precision are at IoU 0.5: FP32 at its threshold, the engine at that one, the engine at its "
        "own."
    )


def tables(content: ThresholdsContent) -> list[Table]:
    """A table per engine, a line per class and one of all."""
    return [_table(content["backend"], engine) for engine in content["engines"]]


def _table(backend: str, engine: EngineThresholds) -> Table:
    header = [
        "Class", "Boxes", "FP32 threshold", "Threshold", "At FP32's precision", "Best F1 from", "Recall, %",
        "Precision, %", "Remark",
    ]  # fmt: skip
    lines = [
        [
            one["name"],
            str(one["boxes"]),
            f"{one['base']:.3f}",
            f"{one['threshold']:.3f}",
            _with_interval(one["other"], one["low"], one["high"]),
            _with_interval(one["best_f1"]["other"], one["best_f1"]["low"], one["best_f1"]["high"]),
            *_at(one["validation"] or one["at"]),
            _remark(one),
        ]
        for one in engine["classes"]
    ]
    if len(lines) > 1:
        boxes = sum(one["boxes"] for one in engine["classes"])
        whole = _at(engine["validation"] or engine["at"])
        lines.append(["all", str(boxes), NOTHING, NOTHING, NOTHING, NOTHING, *whole, NOTHING])
    return Table(f"Thresholds of {engine_name(backend, engine['precision'])}", header, lines)


def _remark(one: ClassThreshold) -> str:
    if one["moved"]:
        return "moved"
    more = f"; about {one['needed']} boxes would tell" if one["needed"] and not one["why"].startswith("only") else ""
    return f"stays: {one['why']}{more}"


def _at(at: At) -> list[str]:
    """Recall, then precision, each of FP32, of the engine as it was, and as it is now."""
    sides = (at["base"], at["unmoved"], at["moved"])
    return [
        " / ".join(_points(side["recall"]) for side in sides),
        " / ".join(_points(side["precision"]) for side in sides),
    ]


def _points(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _moves(classes: Sequence[ClassThreshold]) -> str:
    moved = [one for one in classes if one["moved"]]
    if not moved:
        return "none moves" if len(classes) > 1 else f"{classes[0]['name']} stays at {classes[0]['base']:.3g}"
    said = ", ".join(f"{one['name']} {one['base']:.3g} to {one['threshold']:.3f}" for one in moved[:NAMED])
    more = f" and {len(moved) - NAMED} more" if len(moved) > NAMED else ""
    stay = f", {len(classes) - len(moved)} of {len(classes)} stay" if len(moved) < len(classes) else ""
    return f"{said}{more}{stay}"


def _recall(engine: EngineThresholds) -> str:
    where, at = ("validation", engine["validation"]) if engine["validation"] else ("these", engine["at"])
    sides = [at[side]["recall"] for side in ("base", "unmoved", "moved")] if at else []
    if len(sides) < 3 or None in sides or not any(one["moved"] for one in engine["classes"]):
        return ""
    base, unmoved, moved = (100 * side for side in sides if side is not None)
    return f" Recall on the {where} images: FP32 {base:.1f} %, unmoved {unmoved:.1f} %, moved {moved:.1f} %."
