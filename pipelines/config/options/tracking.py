"""The ``tracking`` config group as a dataclass. Light: the config can be read without MLflow."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.rules import option, seconds


@dataclass
class TrackingOptions:
    """Where a run is recorded: MLflow, on SQLite by default; `make ui` opens it."""

    enabled: bool = option(True, doc="record runs in MLflow")
    uri: str | None = option(
        None, doc="MLflow tracking URI: a server, or `sqlite:///FILE`; null: SQLite under `folder`"
    )
    folder: str = option("artifacts/mlflow", doc="folder of the local store: `mlflow.db` and `artifacts/`")
    experiment: str | None = option(
        None, doc="name of the experiment; null: one for each model and data set, `MODEL on DATA`"
    )
    artifact_location: str | None = option(
        None, doc="path or URI for the files of a new experiment; null: `folder`/artifacts, or what the server chooses"
    )
    system_metrics: bool = option(False, doc="sample CPU, memory, disk and network while `finetune` and `distill` run")
    timeout: float = option(10.0, seconds(more=True), "seconds that a server gets to answer one request")
