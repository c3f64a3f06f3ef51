"""A sensitivity analysis for people: table, Markdown and figure of ``sensitivity.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.report.markdown_text import escape
from stages.report.schema_blocks import BlockDamage, SensitivityContent
from stages.report.tables import NOTHING, Table, digits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETS = {"train": "labelled training images", "val": "labelled validation images", None: "unlabeled images"}
SHOWN = 24
"""Blocks in the figure; the table has all."""
CERTAIN, OPEN = "#be123c", "#9ca3af"


def table(content: SensitivityContent) -> Table:
    """A line per block, worst first."""
    labelled = content["labels"] is not None
    header = ["Block", "Layers", "Share of work", *(["mAP drop", "95 %"] if labelled else []), "Output distance"]
    rows = []
    for one in content["blocks"]:
        drop = []
        if labelled:
            drop = [digits(one["map_drop"], 2, "+"), _interval(one)]
        rows.append([one["block"], str(one["layers"]), f"{one['share']:.1%}", *drop, f"{one['distance']:.4f}"])
    return Table("What each block costs in INT8", header, rows)


def explained(content: SensitivityContent) -> str:
    """One paragraph: what was measured, and how to read it."""
    on = f"{content['images']} {SETS[content['labels']]}, on the built {content['backend']} engine"
    text = (
        f"Each block was quantized alone, all others in float; judged on {on}. Output distance: how far scores and "
        "boxes are from FP32's, 0 for equal."
    )
    if content["labels"] is not None:
        text += (
            f" mAP drop: FP32's mAP there ({content['fp32_map']:.1f}) minus that with this block in INT8, in points. "
            "Blocks whose drop is above zero with 95 % certainty come first; all others are in order of the distance, "
            "since their drops say nothing about the order."
        )
    return text


def costly(content: SensitivityContent) -> str:
    """One sentence: which blocks cost mAP for certain, or else which change the outputs most."""
    certain = [one for one in content["blocks"] if one["low"] is not None and one["low"] > 0]
    if certain:
        named = ", ".join(f"{one['block']} ({one['map_drop']:.2f} points)" for one in certain[:3])
        more = f" and {len(certain) - 3} more" if len(certain) > 3 else ""
        return f"In INT8 these blocks cost mAP for certain: {named}{more}."
    if not content["blocks"]:
        return "No block was quantized."
    worst = max(content["blocks"], key=lambda one: one["distance"])
    told = "No block costs mAP for certain" if content["labels"] else "Without labels no mAP was measured"
    return f"{told}; {worst['block']} changes the outputs most (distance {worst['distance']:.4f})."


def markdown(content: SensitivityContent) -> str:
    """``sensitivity.md``."""
    found = table(content)
    return f"# {found.title}\n\n{escape(explained(content))}\n\n![Plot](sensitivity.png)\n\n{found.markdown()}\n"


def draw(content: SensitivityContent) -> Figure:
    """Bars of the distance and, with labels, points of the mAP drop with their intervals; worst on top."""
    from matplotlib.figure import Figure

    from stages.report.figures import label

    shown = content["blocks"][:SHOWN]
    labelled = content["labels"] is not None
    figure = Figure(figsize=(6.4, 1.3 + 0.24 * len(shown)), layout="constrained")
    panels = figure.subplots(1, 2 if labelled else 1, sharey=True, squeeze=False)[0]
    y = list(range(len(shown)))
    if labelled:
        for place, one in zip(y, shown, strict=True):
            colour = CERTAIN if one["low"] is not None and one["low"] > 0 else OPEN
            if one["low"] is not None:
                panels[0].plot([one["low"], one["high"]], [place, place], color=colour, linewidth=1.4)
            panels[0].plot([one["map_drop"]], [place], "o", markersize=4, color=colour)
        panels[0].axvline(0, color="#9ca3af", linewidth=0.8)
        panels[0].set_xlabel("mAP lost, points (95 %)", fontsize=9)
    panels[-1].barh(y, [one["distance"] for one in shown], 0.6, color="#2563eb")
    panels[-1].set_xlabel("distance of the outputs from FP32", fontsize=9)
    panels[0].set_yticks(y, [label(one["block"], 40) for one in shown])
    panels[0].set_ylim(len(shown) - 0.4, -0.6)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.grid(axis="x", color="#e5e7eb", linewidth=0.7)
        axes.set_axisbelow(True)
    left = len(content["blocks"]) - len(shown)
    if left:
        figure.supxlabel(f"and {left} blocks that cost less", fontsize=8)
    return figure


def _interval(one: BlockDamage) -> str:
    return NOTHING if one["low"] is None else f"{one['low']:+.2f} to {one['high']:+.2f}"
