"""The report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.options.gate import GateOptions
from stages.options.rules import option, part


@dataclass
class ReportOptions:
    """The run's tables (stage ``report``)."""

    run_id: str = option("", doc="the run")
    model: str = option("", doc="name of the model")
    data: str = option("", doc="name of the data set")
    command: str = option("", doc="the command that repeats the run")
    hardware: str = option("", doc="what it ran on")
    method: str = option("", doc="`compression.method`")
    failures: list[dict[str, Any]] = option(
        [],
        doc='`{"stage", "backend", "precision", "error"}` of what failed or is unavailable: rows with a status',
    )
    variants: dict[str, list[str]] = option(
        {}, doc="backend -> the variants that were to be made, each of which gets a row"
    )
    left_out: list[dict[str, Any]] = option(
        [], doc='`{"backend", "precision", "reason"}` of variants that a backend or this machine does not have'
    )
    gate: GateOptions = part(GateOptions, "gate")
    require_all_backends: bool = option(
        False,
        doc="what a gate asks for and a backend cannot measure on this machine fails; else that gate is left out",
    )
    config: dict[str, Any] = option({}, doc="the run's whole config, shown in the HTML report")
    versions: dict[str, str] = option({}, doc="distributions and their versions, likewise")
    commit: str | None = option(None, doc="the commit of the code, if it is known")
