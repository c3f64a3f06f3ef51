"""The report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stages.options.gate import GateOptions


@dataclass
class ReportOptions:
    """The run's tables (stage ``report``)."""

    run_id: str = ""
    model: str = ""
    data: str = ""
    command: str = ""
    hardware: str = ""
    method: str = ""
    failures: list[dict[str, Any]] = field(default_factory=list)
    """``{"stage", "backend", "precision", "error"}`` of what failed or is unavailable; shown as rows with a status."""
    gate: GateOptions = field(default_factory=GateOptions)
    require_all_backends: bool = False
    """What a gate asks for and a backend cannot measure on this machine fails; else that gate is left out."""
    config: dict[str, Any] = field(default_factory=dict)
    """The run's whole config, shown in the HTML report."""
    versions: dict[str, str] = field(default_factory=dict)
    """Distributions and their versions, likewise."""
    commit: str | None = None
    """The commit of the code, if it is known."""
