"""Drift of the images, and the judgement of a challenger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stages.options.accuracy import NmsOptions
from stages.options.gate import GateOptions


@dataclass
class DriftOptions:
    """What images are like under an engine (stage ``drift``)."""

    images: int = 200
    """How many are looked at."""
    nms: NmsOptions = field(default_factory=NmsOptions)


@dataclass
class JudgeOptions:
    """Whether a challenger may be promoted (stage ``judge``)."""

    gate: GateOptions = field(default_factory=GateOptions)
    names: list[str] = field(default_factory=list)
    """What the engines are, in their order, the challenger last: ``[fp32, champion, challenger]``; without a champion
    their precisions."""
    run_id: str = ""
    """The challenger's run."""
    champion: dict[str, Any] = field(default_factory=dict)
    """``version`` and ``run_id`` of the champion; empty: there is none."""
    hardware: str = ""
    images_digest: str = ""
    """The validation images that the engines were scored on."""
