"""Drift of the images, and the judgement of a challenger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.options.accuracy import NmsOptions
from stages.options.gate import GateOptions
from stages.options.rules import POSITIVE, option, part


@dataclass
class DriftOptions:
    """What images are like under an engine (stage ``drift``)."""

    images: int = option(200, POSITIVE, "how many images the drift is measured on")
    nms: NmsOptions = part(NmsOptions, "accuracy.nms")


@dataclass
class JudgeOptions:
    """Whether a challenger may be promoted (stage ``judge``)."""

    gate: GateOptions = part(GateOptions, "gate")
    names: list[str] = option(
        [],
        doc="names of the engines, in order, the challenger last: `[fp32, champion, challenger]`; without a champion "
        "their precisions",
    )
    run_id: str = option("", doc="the challenger's run")
    champion: dict[str, Any] = option({}, doc="`version` and `run_id` of the champion; empty: there is none")
    hardware: str = option("", doc="what both were measured on")
    images_digest: str = option("", doc="the validation images that the engines were scored on")
