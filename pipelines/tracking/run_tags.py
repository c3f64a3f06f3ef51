"""The tags of MLflow's runs, by which they are found again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.tracking.experiments import NOTE
from stages.report.markdown_text import code

Record = Mapping[str, Any]


def of_pipeline(run: Record, process: Mapping[str, str]) -> dict[str, str]:
    """Of a pipeline's run; ``process``: what tells which process keeps it alive."""
    tags = {
        "node": "pipeline",
        **{k: run[k] for k in ("run_id", "pipeline", "model", "data", "hardware", "run_dir", "command")},
        "mlflow.source.name": f"detpress {run['pipeline']}",
        "mlflow.source.type": "LOCAL",
        NOTE: f"Running: {code(run['command'])}",
    }
    if run["commit"]:
        tags |= {"commit": run["commit"], "mlflow.source.git.commit": run["commit"]}
    if run["resumed_from"]:
        tags["resumed_from"] = run["resumed_from"]
    return {**tags, **process}  # these last, as MLflow keeps their order: they are for the sweep


def of_stage(run: Record, parent: str, stage: Record, process: Mapping[str, str]) -> dict[str, str]:
    """Of a stage's run in MLflow's run ``parent``."""
    tags = {
        "mlflow.parentRunId": parent,
        "mlflow.source.name": f"detpress {run['pipeline']}",
        "mlflow.source.type": "LOCAL",
        "run_id": run["run_id"],
        "node": stage["id"],
        "stage": stage["stage"],
        "key": stage["key"],
        **{k: stage[k] for k in ("backend", "precision") if stage[k]},
        **process,
    }
    if run["commit"]:
        tags["mlflow.source.git.commit"] = run["commit"]
    return tags
