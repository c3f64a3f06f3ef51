"""The path of ``compression=auto`` for the report: words, table and figure of ``search.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.artifacts import SEARCH_FILE, QuantizedModel
from stages.outside import records
from stages.report.schema import ReportContent
from stages.report.schema_search import SearchContent, SearchStep
from stages.report.tables import NOTHING, Table, digits

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def read(compressed: Sequence[QuantizedModel]) -> SearchContent | None:
    """The path, where a search made the INT8 model."""
    for model in compressed:
        if SEARCH_FILE in model.files:
            content: SearchContent = records.read(model.root / SEARCH_FILE, SearchContent)
            return content
    return None


def headline(report: ReportContent) -> str:
    """What came of the search, and what so many images do not say; empty where there was none."""
    content = report.get("search")
    return ". ".join([content["outcome"], *content["undecided"]]) + "." if content else ""


def explained(content: SearchContent) -> str:
    """How it was judged."""
    on = "labelled training images" if content["unit"] == "mAP" else "unlabeled images, by the distance of outputs"
    return (
        f"Each step was judged on {content['images']} {on}, held out of the compression, by the {content['backend']} "
        "engine against its FP32. A limit holds if the upper bound of the drop's 95 % interval is within it. The model "
        "may have been trained on these images; the report's own mAP is of the validation set, which took no part."
    )


def table(content: SearchContent) -> Table:
    """A line per step, in order."""
    rows = [
        [
            step["name"] + (" (chosen)" if step["name"] == content["chosen"] else ""),
            digits(step["drop"], 2, "+"),
            _interval(step) if not step["failed"] else f"failed: {step['failed']}",
            NOTHING if step["speedup"] is None else f"{step['speedup']:.2f}",
            f"{step['seconds']:.0f}",
            f"{step['at']:.0f}",
        ]
        for step in content["path"]
    ]
    unit = "Drop, mAP" if content["unit"] == "mAP" else "Distance"
    return Table("What was tried", ["Step", unit, "95 %", "Speed-up", "Seconds", "Done at, s"], rows)


def draw(content: SearchContent) -> Figure:
    """The drop with its interval over the time at which its step was done, the limit as a line."""
    from stages.report.figures import panel
    from stages.report.style import PALETTE, SOFT

    figure, axes = panel(2.4)
    for step in content["path"]:
        if step["drop"] is None or step["low"] is None or step["high"] is None:
            continue
        chosen = step["name"] == content["chosen"]
        colour = PALETTE[2] if chosen else PALETTE[0]
        axes.plot([step["at"]] * 2, [step["low"], step["high"]], color=colour, linewidth=1.2)
        axes.plot([step["at"]], [step["drop"]], "D" if chosen else "o", color=colour, markersize=5 if chosen else 4)
    axes.axhline(content["max_drop"], color=SOFT, linewidth=0.9, linestyle="--")
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds since the search began", fontsize=9)
    axes.set_ylabel("drop, mAP (95 %)" if content["unit"] == "mAP" else "distance (95 %)", fontsize=9)
    return figure


CAPTION = "The drop against FP32 of each step, when it was done. Dashed: the limit. Diamond: what came out."


def _interval(step: SearchStep) -> str:
    return NOTHING if step["low"] is None else f"{step['low']:+.2f} to {step['high']:+.2f}"
