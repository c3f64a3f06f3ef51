"""How a run ended, as an exit code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.execution.runner import Results
from stages.errors import DetpressError, InputError, UnavailableError
from stages.report.schema import ReportContent


@dataclass(frozen=True)
class Outcome:
    """How a pipeline ended."""

    exit_code: int
    path: Path | None
    """What was made: ``report.json`` of a compression, the checkpoint of a training."""


def exit_code(results: Results, report: ReportContent | None = None, *, require_all: bool = False) -> int:
    """0 if every stage ended well and every gate of the report holds.

    A failed stage, or an engine that disagrees with the reference, comes before a failed gate: 2 if the user's input
    was the cause, else 4; 3 if a gate failed. A backend that is unavailable on this machine is no failure as long as
    one that was listed beside it ran, unless ``require_all``.
    """
    rows = report.get("rows", []) if report else []
    gates = report.get("gates", []) if report else []
    failures = results.failures.values()
    if any(isinstance(error, InputError) for error in failures):
        return 2
    unavailable = [error for error in failures if isinstance(error, UnavailableError)]
    ran = any(row["status"] == "ok" for row in rows)
    if len(unavailable) < len(failures) or any(row["status"] == "failed" for row in rows):
        return 4
    if unavailable and (require_all or not ran):
        return 4
    return 3 if any(gate["verdict"] == "fail" for gate in gates) else 0


def first_failure(results: Results) -> DetpressError | None:
    """The failure to tell the user about first."""
    return next(iter(results.failures.values()), None)
