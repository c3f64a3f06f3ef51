"""The MLflow store that the options name: its address, a client for it, and runs in it that nobody ends any more."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipelines.config.options.tracking import TrackingOptions
from pipelines.system import telemetry
from pipelines.system.database import ensure, locked, set_aside, sqlite_file, sqlite_url, unsynced
from pipelines.system.process_identity import is_gone
from pipelines.system.run_lock import is_alive
from pipelines.system.slug import matching
from pipelines.system.user import named
from pipelines.tracking.moved import follow
from stages.errors import InputError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def store_uri(options: TrackingOptions) -> str:
    """The tracking URI: the one that was given, or SQLite in the local folder. Raises InputError if it is none."""
    try:
        urlsplit(options.uri or "")
    except ValueError as error:
        raise InputError(f"{options.uri!r} is no address of MLflow ({error}); correct tracking.uri") from error
    return options.uri or sqlite_url(Path(options.folder).resolve() / "mlflow.db")


def artifact_location(options: TrackingOptions) -> str | None:
    """Where a new experiment keeps its files; ``None`` leaves it to the server."""
    if options.artifact_location:
        given = options.artifact_location
        return given if "://" in given else Path(given).resolve().as_uri()
    if store_uri(options).startswith(("http://", "https://")):
        return None
    return (Path(options.folder).resolve() / "artifacts").as_uri()


def connect(options: TrackingOptions) -> MlflowClient:
    """A client of the store; imports MLflow, which takes a second or two. Nothing is asked of a server yet.

    A local database is whole when this returns.
    """
    named(telemetry.off(os.environ))
    # MLflow's own defaults would let a dead server hold a run for minutes; what the user has set stays.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(max(1, round(options.timeout))))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    # With a server it would print links to stdout, which is for tables and the path of the report.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):  # they tell of every table they create
        logging.getLogger(name).setLevel(logging.WARNING)
    if path := sqlite_file(store_uri(options)):
        ensure(path, lambda new: _make(new, artifact_location(options) or "mlruns"), _whole)
        if options.uri is None and options.artifact_location is None:
            follow(path, options)
        with locked(path):  # a newer MLflow changes the tables of an older one, which two runs must not do at once
            client = MlflowClient(tracking_uri=store_uri(options))
            client.search_experiments(max_results=1)
            return client
    return MlflowClient(tracking_uri=store_uri(options))


def half_database(options: TrackingOptions) -> str | None:
    """Keep a local database aside that a killed process left half made; what to tell the user. Imports no MLflow."""
    path = sqlite_file(store_uri(options))
    return None if path is None else set_aside(path, _whole)


def _make(path: Path, artifacts: str) -> None:
    """The tables of a store, in a file of its own: two runs that make them in one place fail both."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with unsynced(path):
        SqlAlchemyStore(sqlite_url(path), artifacts).engine.dispose()


def _whole(connection: sqlite3.Connection, tables: set[str]) -> bool:
    """Whether the tables were made to their end, which MLflow marks with its first experiment; or are another's."""
    made = tables & {"experiments", "_alembic_tmp_experiments"}  # a migration copies one to the other
    if not made:
        return bool(tables - {"alembic_version"})
    return any(connection.execute(f"SELECT experiment_id, lifecycle_stage FROM {t}").fetchone() for t in sorted(made))


def sweep(client: MlflowClient) -> None:
    """Mark runs as KILLED whose process is gone: SIGKILL, or a lost machine, leaves them RUNNING for ever.

    Of a process of another machine, the lock in the run's folder tells, if that folder is shared with this one.
    """
    experiments = [e.experiment_id for e in client.search_experiments()]
    running = list(client.search_runs(experiments, matching({"attributes.status": "RUNNING"})))
    gone = {run.info.run_id for run in running if is_gone(run.data.tags) or _over(run.data.tags.get("run_dir"))}
    for run in running:
        if run.info.run_id in gone or run.data.tags.get("mlflow.parentRunId") in gone:
            client.set_terminated(run.info.run_id, "KILLED")


def _over(run_dir: str | None) -> bool:
    return run_dir is not None and (Path(run_dir) / "run.json").is_file() and not is_alive(Path(run_dir))


def link_successor(client: MlflowClient, interrupted: str, successor: str) -> None:
    """Let the interrupted run (by its ``run_id``) name the one that continued it."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    wanted = matching({"tags.run_id": interrupted, "tags.node": "pipeline"})
    for run in client.search_runs(experiments, wanted):
        client.set_tag(run.info.run_id, "continued_by", successor)
