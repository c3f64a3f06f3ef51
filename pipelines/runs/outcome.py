"""How a run ended, as an exit code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.execution.runner import Results
from stages.errors import ExitCode, InputError, UnavailableError
from stages.report.gates import holds
from stages.report.schema import ReportContent


@dataclass(frozen=True)
class Outcome:
    """How a pipeline ended."""

    exit_code: int
    path: Path | None
    """What was made: ``report.json`` of a compression, the checkpoint of a training."""


def exit_code(results: Results, report: ReportContent | None = None, *, require_all: bool = False) -> int:
    """``DONE`` if every stage ended well and every gate of the report holds.

    A failed stage, or an engine that disagrees with the reference, comes before a failed gate: ``WRONG_INPUT`` if the
    user's input was the cause, else ``STAGE_FAILED``; ``GATE_FAILED`` if a gate failed, is undecided or could not be
    judged: nobody was shown that what was asked for holds. A backend that is unavailable
    on this machine is no failure as long as one that was listed beside it ran, unless ``require_all``.
    """
    rows = report.get("rows", []) if report else []
    gates = report.get("gates", []) if report else []
    failures = results.failures.values()
    if any(isinstance(error, InputError) for error in failures):
        return ExitCode.WRONG_INPUT
    unavailable = [error for error in failures if isinstance(error, UnavailableError)]
    ran = any(row["status"] == "ok" for row in rows)
    if len(unavailable) < len(failures) or any(row["status"] == "failed" for row in rows):
        return ExitCode.STAGE_FAILED
    if unavailable and (require_all or not ran):
        return ExitCode.STAGE_FAILED
    return ExitCode.DONE if all(map(holds, gates)) else ExitCode.GATE_FAILED
