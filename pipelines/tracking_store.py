"""The MLflow store that the options name: its address, a client for it, and runs in it that nobody ends any more."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import telemetry
from pipelines.tracking_options import TrackingOptions
from pipelines.tracking_process import is_gone

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def store_uri(options: TrackingOptions) -> str:
    """The tracking URI: the one that was given, or SQLite in the local folder."""
    return options.uri or f"sqlite:///{Path(options.folder).resolve() / 'mlflow.db'}"


def artifact_location(options: TrackingOptions) -> str | None:
    """Where a new experiment keeps its files; ``None`` leaves it to the server."""
    if options.artifact_location:
        given = options.artifact_location
        return given if "://" in given else Path(given).resolve().as_uri()
    if store_uri(options).startswith(("http://", "https://")):
        return None
    return (Path(options.folder).resolve() / "artifacts").as_uri()


def connect(options: TrackingOptions) -> MlflowClient:
    """A client of the store; imports MLflow, which takes a second or two. Nothing is asked of the store yet."""
    telemetry.off(os.environ)
    # MLflow's own defaults would let a dead server hold a run for minutes; what the user has set stays.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(max(1, round(options.timeout))))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):  # they tell of every table they create
        logging.getLogger(name).setLevel(logging.WARNING)
    if store_uri(options).startswith("sqlite:///"):
        Path(store_uri(options).removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=store_uri(options))


def sweep(client: MlflowClient) -> None:
    """Mark runs of this machine as KILLED whose process is gone: SIGKILL leaves them RUNNING for ever."""
    query = f"attributes.status = 'RUNNING' and tags.host = '{socket.gethostname()}'"
    for run in client.search_runs([e.experiment_id for e in client.search_experiments()], query):
        if is_gone(run.data.tags):
            client.set_terminated(run.info.run_id, "KILLED")


def link_successor(client: MlflowClient, interrupted: str, successor: str) -> None:
    """Let the interrupted run (by its ``run_id``) name the one that went on with it."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    for run in client.search_runs(experiments, f"tags.run_id = '{interrupted}' and tags.node = 'pipeline'"):
        client.set_tag(run.info.run_id, "continued_by", successor)
