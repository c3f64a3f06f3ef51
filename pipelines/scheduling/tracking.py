"""What MLflow is told by the scheduler: each tick's outcome, and which runs were killed.

A process of its own, so that a scheduler that runs for months does not carry MLflow around.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config.options.tracking import TrackingOptions
from pipelines.runs import history
from pipelines.system.database import sqlite_file
from pipelines.system.redact import redact_text
from pipelines.system.times import local, moment
from pipelines.tracking.experiments import VIEW_TAG
from stages.errors import ExitCode
from stages.processes import children, python
from stages.report.markdown_text import escape

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_SECONDS = 180.0
_ENDS = {"failed": "FAILED", "refused": "FAILED", "interrupted": "KILLED"}


def mark_interrupted(artifacts: Path, tracking: Mapping[str, Any], folder: Path) -> str:
    """Mark runs as KILLED whose process is gone, in ``run.json`` and MLflow; returns what went wrong, or nothing.

    Where this could not, the next run marks them too.
    """
    return _child({"mark": str(artifacts), "tracking": dict(tracking)}, folder)


def track_tick(entry: Mapping[str, Any], tracking: Mapping[str, Any], folder: Path) -> str:
    """Put a tick's last history line into MLflow, as a run of the experiment ``schedule NAME``.

    A tick that found nothing changed has no other run there; one that retrained links to its run by ``run_id``.
    Returns what went wrong, or nothing.
    """
    return _child({"tick": dict(entry), "tracking": dict(tracking)}, folder)


def _child(request: Mapping[str, Any], folder: Path) -> str:
    if not request["tracking"].get("enabled") and "tick" in request:
        return ""
    try:
        done = children.run(
            python.command("pipelines.scheduling.tracking"),
            given=json.dumps(request),
            timeout=_SECONDS,
            cwd=folder,
            env=python.environment(),
        )
    except (OSError, subprocess.SubprocessError) as error:
        return redact_text(str(error)).splitlines()[0]
    if done.returncode == 0:
        return ""
    return redact_text((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])


def main() -> int:
    """Read the request, a JSON object on standard input, and do what it says."""
    request = json.load(sys.stdin)
    options = TrackingOptions(**request["tracking"])
    if "mark" in request:
        history.mark_killed(Path(request["mark"]))
        if options.enabled:
            _tidy(options, Path(request["mark"]))
        return ExitCode.DONE
    from pipelines.tracking.client import connect

    _write(connect(options), options, request["tick"])
    return ExitCode.DONE


def _tidy(options: TrackingOptions, artifacts: Path) -> None:
    from pipelines.tracking.client import connect, store_uri
    from pipelines.tracking.earlier import tidy

    local = sqlite_file(store_uri(options))
    if local is None or local.is_file():  # else nothing was ever tracked there
        tidy(connect(options), options, artifacts / "runs", told=True)


def _write(client: MlflowClient, options: TrackingOptions, tick: Mapping[str, Any]) -> None:
    from pipelines.tracking.client import artifact_location

    name = f"schedule {tick['schedule']}"
    existing = client.get_experiment_by_name(name)
    experiment = existing.experiment_id if existing else client.create_experiment(name, artifact_location(options))
    client.set_experiment_tag(experiment, VIEW_TAG, json.dumps(_view()))
    tags = {key: str(value) for key, value in tick.items() if value is not None}
    tags |= {"mlflow.source.name": "detpress schedule", "mlflow.source.type": "JOB"}
    tags["mlflow.note.content"] = f"**{escape(tick['outcome'])}**: {escape(tick.get('reason') or '')}"
    began, ended = (_milliseconds(tick[key]) for key in ("started", "ended"))
    name = f"{local(tick['started'])} {tick['outcome']}"
    run = client.create_run(experiment, start_time=began, tags=tags, run_name=name)
    client.log_metric(run.info.run_id, "seconds", (ended - began) / 1000)
    client.set_terminated(run.info.run_id, _ENDS.get(tick["outcome"], "FINISHED"), ended)


def _view() -> dict[str, Any]:
    """The state of MLflow's table of runs that shows what came of each tick."""
    widths = {"attributes.`Run Name`": 230, "runDateAndNestInfo": 130, "duration": 80}
    widths |= {"tags.`outcome`": 110, "tags.`champion`": 100, "tags.`reason`": 480}
    columns = [name for name in widths if name.startswith("tags.")]
    return {"selectedColumns": columns, "columnOrder": list(widths), "columnWidths": widths}


def _milliseconds(stamp: str) -> int:
    return round(moment(stamp).timestamp() * 1000)


if __name__ == "__main__":
    sys.exit(main())
