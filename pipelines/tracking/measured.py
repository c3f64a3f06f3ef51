"""What the runs in an MLflow store measured, as points of the Pareto page: from the tag that a run leaves for this, or
of runs that have none from their metrics and tags.

A database of SQLite is read as it is, since importing MLflow takes longer than reading a thousand runs.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pipelines.config.options.tracking import TrackingOptions
from pipelines.system.database import sqlite_file
from pipelines.system.redact import redact_text
from pipelines.system.slug import matching
from pipelines.tracking.client import connect, store_uri
from stages.errors import InputError, StoreError
from stages.outside import records
from stages.report.pareto import Point, made, of_report, within
from stages.report.schema import ReportContent

TAG = "pareto"
"""JSON: the `Point` of each engine, in several tags where it takes more room than one has."""
_ROOM = 4000  # characters of a tag; MLflow's servers keep at least 5000
_MOST_TAGS = 20
_NEEDS = {"rows", "run_id", "model", "data", "hardware"}
_WANTED = re.compile(r"(map|map_difference|latency)[./]")
_SCORE, _CHANGE, _LATENCY = "map", "map_difference", "latency"
_DAY = len("20260101")


@dataclass
class Recorded:
    """A run as the store has it; ``began``: milliseconds since 1970."""

    began: int
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)


def points_tag(summary: Mapping[str, Any]) -> dict[str, str]:
    """The tags that hold the points of a report; none where the summary is no report, or has no point."""
    if not set(summary) >= _NEEDS:
        return {}
    points = of_report(cast(ReportContent, summary))
    text = json.dumps(points, separators=(",", ":"))
    parts = [text[i : i + _ROOM] for i in range(0, len(text), _ROOM)]
    return {_tag(i): part for i, part in enumerate(parts)} if points and len(parts) <= _MOST_TAGS else {}


def collect(options: TrackingOptions) -> list[Point]:
    """A point for each engine that a run of the store timed and scored, newest run first.

    Raises:
        InputError: there is no such store, or it is none of MLflow's.
        StoreError: it cannot be reached.
    """
    runs = sorted(_runs(options), key=lambda run: run.began, reverse=True)
    return [point for run in runs for point in points_of(run)]


def points_of(run: Recorded) -> list[Point]:
    """Those of one run; none where what it recorded cannot be read."""
    if _tag(0) not in run.tags:
        return list(_of_metrics(run))
    text = "".join(run.tags.get(_tag(i), "") for i in range(_MOST_TAGS))
    with contextlib.suppress(StoreError):
        found: list[Point] = records.parse(text, TAG, list[Point], raises=StoreError, finite=True)
        return found
    return []


def _tag(number: int) -> str:
    return TAG if number == 0 else f"{TAG}.{number}"


def _of_metrics(run: Recorded) -> Iterator[Point]:
    """From what every run records: medians as their 50th percentile, without intervals of times."""
    numbers = {name.replace("/", ".", 1): value for name, value in run.metrics.items()}
    run_id, data = run.tags.get("run_id", ""), run.tags.get("data", "")
    day = run_id[:_DAY] if run_id[:_DAY].isdigit() else time.strftime("%Y%m%d", time.gmtime(run.began / 1000))
    for name, score in numbers.items():
        kind, _, engine = name.partition(".")
        backend, _, precision = engine.partition(".")
        ms = numbers.get(f"{_LATENCY}.{engine}.p50_ms")
        if kind != _SCORE or ms is None or not precision:
            continue
        change = [numbers.get(f"{_CHANGE}.{engine}{part}") for part in ("", ".low", ".high")]
        known = [bound for bound in change if bound is not None]
        threads, batch = run.params.get(f"backend.{backend}.threads"), run.params.get("export.batch", "1")
        point = made(
            run_id, run.tags.get("model", ""), data, (backend, precision),
            within(data, run.tags.get("hardware", ""), day, threads, batch, None), score,
            known if len(known) == len(change) else None, ms, None,
            _why(run.tags.get("timing.disturbed", ""), f"{_LATENCY}/{engine}.p50_ms"),
        )  # fmt: skip
        if point is not None:
            yield point


def _why(disturbed: str, metric: str) -> str:
    """What is said of a metric in the tag that lists those which were disturbed; empty if nothing is."""
    found = re.search(rf"(?:^|; ){re.escape(metric)}: (.*?)(?=; {_LATENCY}/|$)", disturbed, re.DOTALL)
    return found[1] if found else ""


# --- reading the store -----------------------------------------------------------------------------------------------


def _runs(options: TrackingOptions) -> Iterable[Recorded]:
    path = sqlite_file(store_uri(options))
    if path is None:
        return _of_server(options)
    if not path.is_file():
        raise InputError(f"there is no MLflow store {path}; name the folder of the results with --artifacts, or --uri")
    place = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(place, uri=True, timeout=30)) as database:
            return _of_tables(database)
    except sqlite3.Error as error:
        raise InputError(f"{path} cannot be read as a store of MLflow: {error}; name another with --uri") from error


def _of_tables(database: sqlite3.Connection) -> list[Recorded]:
    pipelines = (
        "SELECT r.run_uuid FROM runs r JOIN tags n ON n.run_uuid = r.run_uuid AND n.key = 'node' "
        "AND n.value = 'pipeline' WHERE r.lifecycle_stage = 'active'"
    )
    began = f"SELECT run_uuid, start_time FROM runs WHERE run_uuid IN ({pipelines})"
    found = {str(run): Recorded(int(at or 0)) for run, at in database.execute(began)}
    parts = (
        ("tags", "key IN ('run_id', 'model', 'data', 'hardware', 'timing.disturbed') OR key LIKE 'pareto%'"),
        ("params", "key = 'export.batch' OR (key LIKE 'backend.%.threads')"),
        ("latest_metrics", "key LIKE 'map%' OR key LIKE 'latency%.p50_ms'"),
    )
    for table, wanted in parts:
        query = f"SELECT run_uuid, key, value FROM {table} WHERE run_uuid IN ({pipelines}) AND ({wanted})"
        for run, name, value in database.execute(query):
            own = found.get(str(run))  # none of one that began meanwhile
            if own is None:
                continue
            if table != "latest_metrics":
                (own.tags if table == "tags" else own.params)[str(name)] = str(value)
            elif isinstance(value, (int, float)) and math.isfinite(value):
                own.metrics[str(name)] = float(value)
    return list(found.values())


def _of_server(options: TrackingOptions) -> Iterator[Recorded]:
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        client = connect(options)
        experiments, page = [one.experiment_id for one in client.search_experiments()], None
        wanted = matching({"tags.node": "pipeline"})
        while True:
            found = client.search_runs(experiments, wanted, max_results=1000, page_token=page)
            for run in found:
                metrics = {k: v for k, v in run.data.metrics.items() if _WANTED.match(k) and math.isfinite(v)}
                yield Recorded(run.info.start_time or 0, dict(run.data.tags), metrics, dict(run.data.params))
            page = found.token
            if not page:
                return
    except (MlflowException, RequestException, OSError) as error:
        said = redact_text(str(error).partition("\n")[0])
        raise StoreError(f"MLflow at {redact_text(store_uri(options))} cannot be read: {said}; check --uri") from error
