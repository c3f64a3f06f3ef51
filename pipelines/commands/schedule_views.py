"""``detpress schedule list`` and ``history``, as tables or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from pipelines.runs.tables import stdout_console
from pipelines.scheduling import records
from pipelines.scheduling.serving import local, serving
from pipelines.system.redact import redact_text
from stages.errors import ExitCode
from stages.outside.text import plain

if TYPE_CHECKING:
    from apscheduler.job import Job

_COLORS = {"promoted": "green", "failed": "red", "refused": "red", "interrupted": "yellow", "missed": "yellow"}


def schedules(jobs: Sequence[Job], folder: Path, *, as_json: bool) -> int:
    """Every schedule of a store: when, its next tick, what it does now, how it ended last."""
    rows = [_row(job) for job in jobs]
    served = serving(folder)
    if as_json:
        print(json.dumps({"schema_version": 1, "served": served, "schedules": rows}, indent=1))
        return ExitCode.DONE
    table = Table("schedule", "when", "next tick", "now", "last", box=None, pad_edge=False)
    for row in rows:
        last = row["last"] or {}
        ended = f"{last.get('outcome', '-')} {last.get('ended') or last.get('at') or ''}".strip()
        table.add_row(
            row["name"],
            row["when"],
            "paused" if row["next"] is None else row["next"],
            row["now"] or "-",
            Text(ended, _COLORS.get(last.get("outcome", ""), "")),
        )
    stdout_console().print(table if rows else "the store has no schedule")
    if not served:
        print("no scheduler runs: nothing will be started until `detpress schedule serve` is")
    return ExitCode.DONE


def _row(job: Job) -> dict[str, Any]:
    spec = job.kwargs["spec"]
    options, artifacts = spec.options, Path(spec.artifacts)
    zone = options.timezone or "local time"
    past = records.read(artifacts, spec.name)
    now = [tick for tick in records.open_ticks(artifacts) if tick.schedule == spec.name]
    return {
        "name": spec.name,
        "when": f"every {options.interval:g} s" if options.interval else f"{options.cron} ({zone})",
        "next": None if job.next_run_time is None else local(job.next_run_time),
        "now": now[-1].now if now else None,
        "last": past[-1] if past else None,
        "command": [redact_text(part) for part in spec.command],
        "folder": spec.folder,
        "artifacts": spec.artifacts,
    }


def history(artifacts: Path, schedule: str | None, last: int, *, as_json: bool) -> int:
    """The newest lines of the history, oldest of them first."""
    lines = records.read(artifacts, schedule)[-last:] if last > 0 else []
    if as_json:
        print(json.dumps({"schema_version": 1, "history": lines}, indent=1))
        return ExitCode.DONE
    if not lines:
        print(f"there is no history under {records.root(artifacts).resolve()}")
        return ExitCode.DONE
    table = Table("ended", "schedule", "try", "outcome", "why", box=None, pad_edge=False)
    for line in lines:
        outcome = str(line.get("outcome"))
        again = " (tried again)" if line.get("again") else ""
        table.add_row(
            plain(str(line.get("ended") or line.get("at"))),
            plain(str(line.get("schedule"))),
            plain(str(line.get("attempt") or "-")),
            Text(plain(outcome), _COLORS.get(outcome, "")),
            plain(f"{line.get('reason') or ''}{again}"),
        )
    stdout_console().print(table)
    return ExitCode.DONE
