"""The blocks that were left in float, for the report: words and tables of ``float_blocks.json``."""

from __future__ import annotations

from stages.report.schema import ReportContent
from stages.report.schema_blocks import FloatBlocksContent
from stages.report.sensitivity import SETS, table
from stages.report.tables import Table


def headline(report: ReportContent) -> str:
    """One sentence with the outcome on the validation set too; empty where no drop was asked for."""
    content = report.get("float_blocks")
    if not content:
        return ""
    return f"{content['outcome']}.{_final(report, content)}"


def explained(content: FloatBlocksContent) -> str:
    """How it was decided: on which images, on which engine."""
    same = content["labels"] == "val"
    sentence = (
        f"Decided on {content['images']} {SETS[content['labels']]}, by the {content['backend']} engine against its "
        f"FP32 ({content['fp32_map']:.1f} mAP there)."
    )
    if same:
        return sentence + (
            " The report's mAP is of these same images, so it is flattered by the choice; with labelled training "
            "images (data.train_annotations) they would be another set."
        )
    return sentence + (
        " The report's mAP is of the validation set, which took no part in the choice; the model may have been trained "
        "on the images that did."
    )


def block_table(content: FloatBlocksContent) -> Table:
    """A line per block in float: what it brought, what it cost."""
    rows = [
        [one["block"], str(one["layers"]), f"{one['share']:.1%}", f"{one['gain']:+.2f}", f"{one['ms_lost']:+.2f}"]
        for one in content["blocks"]
    ]
    return Table("Blocks left in float", ["Block", "Layers", "Share of work", "mAP gained", "ms lost"], rows)


def step_table(content: FloatBlocksContent) -> Table:
    """A line per mixture that was tried, in order."""
    rows = [
        [
            str(len(step["blocks"])),
            ", ".join(step["blocks"]) or "none",
            f"{step['map']:.2f}",
            f"{step['map_drop']:+.2f}",
            f"{step['speedup']:.2f}",
        ]
        for step in content["steps"]
    ]
    return Table("What was tried", ["Blocks in float", "Which", "mAP", "Drop", "Speed-up"], rows)


def tables(report: ReportContent) -> list[Table]:
    """The tables there are: blocks in float, mixtures, the ranking."""
    content = report.get("float_blocks")
    if not content:
        return []
    made = [block_table(content), step_table(content)]
    if content["ranking"] is not None:
        made.append(table(content["ranking"]))
    return [one for one in made if one.rows]


def _final(report: ReportContent, content: FloatBlocksContent) -> str:
    """What the report's own scores say of the drop, where the choice was made on other images."""
    if content["labels"] == "val" or not content["met"]:
        return ""
    limit = content["max_map_drop"]
    drops = {r["backend"]: r["map_drop"] for r in report["rows"] if r["map_drop"] is not None}
    over = [f"{drop:.2f} on {name}" for name, drop in drops.items() if drop > limit]
    if over:
        return f" On the validation set it is more than was asked: {', '.join(over)}."
    most = " at most" if len(drops) > 1 else ""
    return f" On the validation set the drop is {max(drops.values()):.2f}{most}." if drops else ""
