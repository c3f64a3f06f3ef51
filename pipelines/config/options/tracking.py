"""The ``tracking`` config group as a dataclass. Light: the config can be read without MLflow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class TrackingOptions:
    """Where a run is remembered (``conf/tracking``)."""

    enabled: bool = True
    uri: str | None = None
    """MLflow tracking URI: a server, or ``sqlite:///FILE``; ``None``: SQLite under ``folder``."""
    folder: str = "artifacts/mlflow"
    """Folder of the local store: ``mlflow.db`` and ``artifacts/``."""
    experiment: str | None = None
    """Name of the experiment; ``None``: one per model and data set, ``MODEL on DATA``."""
    artifact_location: str | None = None
    """Path or URI for the files of a new experiment; ``None``: ``folder``/artifacts, or what the server chooses."""
    system_metrics: bool = False
    """Sample CPU, memory, disk and network while ``finetune`` and ``distill`` run."""
    timeout: float = 10.0
    """Seconds that a server gets to answer one request."""
