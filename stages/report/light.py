"""The lighter float model that INT8 was made of, in words: what it was relieved of, and how it learned."""

from __future__ import annotations

from collections.abc import Sequence

from stages.artifacts import LIGHT_FILE, ExportedModel
from stages.options.lighten import ACTIVATIONS
from stages.outside import records
from stages.report.schema import LightContent, ReportContent


def read(lightened: Sequence[ExportedModel]) -> LightContent | None:
    """What was made lighter; ``None`` where nothing was."""
    for model in lightened:
        content: LightContent = records.read(model.path(LIGHT_FILE), LightContent)
        return content
    return None


def headline(report: ReportContent) -> str:
    """One paragraph; empty where the INT8 model is made of the original."""
    content = report.get("lightened")
    if content is None:
        return ""
    learned = (
        f"It learned from the original for {content['steps']} steps on {content['images']} images without labels. "
        "FP32 and what is compared with it are the original."
    )
    return f"INT8 is of a lighter model: {relieved(content)}. {learned}"


def relieved(content: LightContent) -> str:
    """What was exchanged and taken away."""
    parts = []
    if content["exchanged"]:
        kept = f", {content['kept']} stay" if content["kept"] else ""
        parts.append(f"{content['exchanged']} SiLU are {ACTIVATIONS[content['activation']]}{kept}")
    if content["prune"]:
        before, now = content["parameters"]
        work = content["multiply_adds"]
        share = f" and {100 * work[1] / work[0]:.0f} % of the multiply-adds" if work else ""
        parts.append(f"channels pruned: {now / 1e6:.2f} of {before / 1e6:.2f} million parameters{share} are left")
    return "; ".join(parts)
