"""The bundle."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stages.options.accuracy import NmsOptions


@dataclass
class BundleOptions:
    """A deployable bundle (stage ``bundle``, made by ``detpress bundle``)."""

    run_id: str = ""
    model: str = ""
    golden: int = 8
    """Images that go along with what the engine finds in them."""
    nms: NmsOptions = field(default_factory=NmsOptions)
    promised: dict[str, Any] = field(default_factory=dict)
    """What the run measured: ``map``, ``map50`` in points, ``median_ms``, ``end2end_ms``."""
    hardware: str = ""
    """What it was measured on."""
    versions: dict[str, str] = field(default_factory=dict)
    """Every package of the run."""
    requirements: list[str] = field(default_factory=list)
    """The packages among them that the engine needs."""
    config: dict[str, Any] = field(default_factory=dict)
    """The run's whole config."""
