"""Writes the records of a run into MLflow: a parent run for the pipeline, a nested run for each stage.

Applying the same records twice gives the same runs (they are found again by their tags), so that events which did
not arrive can simply be sent once more. Only ``MlflowClient`` is used: the fluent interface keeps its "active run" in
global state, and would turn two stages at once into a riddle.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config.options.tracking import TrackingOptions
from pipelines.execution import ids
from pipelines.system.slug import matching
from pipelines.tracking.client import artifact_location, store_uri
from pipelines.tracking.datasets import as_dataset, as_input
from pipelines.tracking.models import Engines
from pipelines.tracking.names import (
    disturbed_metrics,
    flat,
    metric_name,
    numbers,
    readable,
    results_view,
    run_note,
    small_files,
    timing_tags,
)
from stages.catalog import stage_entry
from stages.errors import StoreError
from stages.outside import records
from stages.report.markdown_text import code

if TYPE_CHECKING:
    from mlflow.entities import Dataset, Metric
    from mlflow.tracking import MlflowClient

Record = Mapping[str, Any]

BATCH = 500  # metrics per request; MLflow takes at most 1000
VIEW = "results"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"  # what MLflow's own "share" button writes


class MlflowWriter:
    """Applies records (see ``pipelines/tracking/observer.py``) of one pipeline run, in their order."""

    def __init__(self, client: MlflowClient, options: TrackingOptions, *, live: bool = True) -> None:
        """``live`` is false when records of the past are sent again: there is then no system to sample."""
        self.warnings: list[str] = []
        self._client = client
        self._options = options
        self._live = live
        self._run: Record = {}
        self._process: dict[str, str] = {}
        self._parent = ""
        self._nested: dict[str, str] = {}  # node id -> MLflow run id
        self._stages: dict[str, Record] = {}
        self._lines: dict[str, list[str]] = {}  # node id -> what its worker said
        self._inputs: dict[str, Dataset] = {}  # digest -> the data set
        self._metrics: dict[str, list[Metric]] = {}
        self._named: set[tuple[str, str]] = set()  # node and name of what was reported as a metric
        self._comparable: list[str] = []  # names of the metrics that compare whole runs
        self._monitors: dict[str, Any] = {}
        self._engines = Engines(client)

    def apply(self, record: Record) -> None:
        """Write one record. Whatever MLflow raises passes through."""
        getattr(self, "_" + record["kind"])(record, int(record["at"]))

    def flush(self) -> None:
        """Send the metrics that were held back."""
        for run_id, metrics in self._metrics.items():
            for start in range(0, len(metrics), BATCH):
                self._client.log_batch(run_id, metrics=metrics[start : start + BATCH])
        self._metrics.clear()

    def close(self) -> None:
        """Stop what samples in the background."""
        for monitor in self._monitors.values():
            monitor.finish()
        self._monitors.clear()

    # --- the run ------------------------------------------------------------------------------------------------

    def _run_started(self, record: Record, at: int) -> None:
        run = self._run = record["run"]
        self._process = dict(record["process"])
        experiment = self._experiment(self._options.experiment or f"{run['model']} on {run['data']}")
        wanted = matching({"tags.run_id": run["run_id"], "tags.node": "pipeline"})
        found = self._client.search_runs([experiment], wanted, max_results=1)
        if found:
            self._parent = found[0].info.run_id
            nested = self._client.search_runs([experiment], matching({"tags.`mlflow.parentRunId`": self._parent}))
            self._nested = {r.data.tags["node"]: r.info.run_id for r in nested if "node" in r.data.tags}
        else:
            tags = {
                "run_id": run["run_id"],
                "node": "pipeline",
                "pipeline": run["pipeline"],
                "model": run["model"],
                "data": run["data"],
                "hardware": run["hardware"],
                "run_dir": run["run_dir"],
                "command": run["command"],
                "mlflow.source.name": f"detpress {run['pipeline']}",
                "mlflow.source.type": "LOCAL",
                "mlflow.note.content": f"Running: {code(run['command'])}",
            }
            if run["commit"]:
                tags |= {"commit": run["commit"], "mlflow.source.git.commit": run["commit"]}
            if run["resumed_from"]:
                tags["resumed_from"] = run["resumed_from"]
            tags |= self._process  # last, as MLflow keeps their order: they are for the sweep
            created = self._client.create_run(experiment, start_time=at, tags=tags, run_name=run["name"])
            self._parent = created.info.run_id
        self._experiment_id = experiment
        self._log_params(self._parent, flat(run["config"]))
        self._client.log_dict(self._parent, dict(run["config"]), "config.yaml")

    def _run_finished(self, record: Record, at: int) -> None:
        folder = Path(record["report_dir"]) if record["report_dir"] else None
        self._client.set_tag(self._parent, "mlflow.note.content", run_note(self._run, record, folder))
        timed = [row for row in record["summary"].get("rows") or [] if (row.get("latency") or {}).get("runtime")]
        if timed:  # whether times and ratios can be believed: a metric has no tags of its own
            self._set_tags(self._parent, timing_tags(disturbed_metrics(timed)))
            self._engines.tag_timings(timed)
        if folder:
            for path in sorted([*folder.glob("report*"), *folder.glob("promotion.*")]):
                self._client.log_artifact(self._parent, str(path))
        self.flush()
        self._show_columns()
        for node in [n for n in self._nested if n in self._stages]:
            self._end(node, record["status"], at)  # a stage still open was cut short with the run
        self._client.set_terminated(self._parent, record["status"], at)

    def _show_columns(self) -> None:
        """Leave a view of the experiment whose columns are the results; MLflow shows no metric by itself."""
        tags = self._client.get_experiment(self._experiment_id).tags
        before: dict[str, Any] = {}
        with contextlib.suppress(StoreError):  # whoever damaged the view, it is made anew
            before = records.parse(tags.get(VIEW_TAG, "{}"), VIEW_TAG, raises=StoreError)
        view = results_view(before, self._comparable)
        if view["selectedColumns"] and view != before:
            self._client.set_experiment_tag(self._experiment_id, VIEW_TAG, json.dumps(view))

    def _experiment(self, name: str) -> str:
        """The id of the experiment called ``name``, made if there is none, restored if it lies in the bin."""
        found = self._client.get_experiment_by_name(name)
        if found is None:
            from mlflow.exceptions import MlflowException

            # The tag makes the UI open on runs and metrics instead of on traces of language models.
            tags = {"mlflow.experimentKind": "custom_model_development"}
            try:
                return str(self._client.create_experiment(name, artifact_location(self._options), tags))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(name)  # another run was faster
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
            self.warnings.append(f"the experiment {name!r} had been deleted in MLflow; this run brought it back")
        return str(found.experiment_id)

    # --- a stage ------------------------------------------------------------------------------------------------

    def _stage_started(self, record: Record, at: int) -> None:
        stage = record["stage"]
        node = stage["id"]
        self._stages[node] = stage
        self._lines[node] = []
        if node not in self._nested:
            tags = {
                "mlflow.parentRunId": self._parent,
                "mlflow.source.name": f"detpress {self._run['pipeline']}",
                "mlflow.source.type": "LOCAL",
                "run_id": self._run["run_id"],
                "node": node,
                "stage": stage["stage"],
                "key": stage["key"],
                **{k: stage[k] for k in ("backend", "precision") if stage[k]},
                **self._process,
            }
            if self._run["commit"]:
                tags["mlflow.source.git.commit"] = self._run["commit"]
            created = self._client.create_run(self._experiment_id, start_time=at, tags=tags, run_name=node)
            self._nested[node] = created.info.run_id
        run_id = self._nested[node]
        self._log_params(run_id, flat(stage["options"]))
        for name, digest in stage["inputs"].items():
            if digest in self._inputs:
                self._client.log_inputs(run_id, [as_input(self._inputs[digest], name)])

    def _event(self, record: Record, at: int) -> None:
        node, event = record["node"], record["event"]
        run_id = self._nested[node]
        self._watch_system(node)
        kind = event.get("event")
        if kind == "metric":
            step = event.get("step")
            self._named.add((node, event["name"]))
            self._metric(run_id, event["name"], event["value"], step, at)
            if step is not None:
                self._metric(self._parent, f"{node}.{event['name']}", event["value"], step, at)
            elif self._compares_runs(node):
                self._metric(self._parent, event["name"], event["value"], None, at)
                self._comparable.append(event["name"])
        elif kind == "progress":
            for name, value in numbers({k: v for k, v in event.items() if k not in ("event", "done", "total")}):
                if (node, name) not in self._named:  # else it is only shown beside the bar a second time
                    self._metric(run_id, name, value, event["done"], at)
        elif kind in ("warning", "info"):
            self._lines[node].append(f"{kind}: {event['message']}")

    def _compares_runs(self, node: str) -> bool:
        """Whether the names of its metrics carry the backend, or they are the whole run's."""
        stage = self._stages[node]
        return bool(stage["backend"]) or stage_entry(stage["stage"]).summarises

    def _stage_finished(self, record: Record, at: int) -> None:
        node, artifact = record["node"], record["artifact"]
        run_id = self._nested[node]
        self._client.set_tag(run_id, "cached", "true" if record["cached"] else "false")
        for name, value in (("seconds", record["seconds"]), ("size_bytes", artifact["size_bytes"])):
            self._metric(run_id, name, value, None, at)
        if artifact["type"] == "LatencyResult":
            self._set_tags(run_id, timing_tags(artifact["fields"].get("disturbed", [])))
        for path in small_files(artifact):
            self._client.log_artifact(run_id, str(path))
        dataset = as_dataset(artifact, f"{self._run['data']} {ids.set_name(node)}")
        if dataset is not None:
            self._inputs[artifact["digest"]] = dataset
            self._client.log_inputs(run_id, [as_input(dataset, "made")])
            self._client.log_inputs(self._parent, [as_input(dataset, ids.set_name(node))])
        if artifact["type"] == "Engine" and self._stages[node]["stage"] == "build":
            self._engines.add(self._run, self._experiment_id, self._parent, node, artifact)
        self._end(node, "FINISHED", at)

    def _stage_failed(self, record: Record, at: int) -> None:
        node, error = record["node"], record["error"]
        run_id = self._nested[node]
        self._client.set_tag(run_id, "error", error["message"].partition("\n")[0][:500])
        self._client.log_text(run_id, f"{error['type']}: {error['message']}\n", "error.txt")
        self._metric(run_id, "seconds", record["seconds"], None, at)
        self._end(node, "FAILED", at)

    def _end(self, node: str, status: str, at: int) -> None:
        if monitor := self._monitors.pop(node, None):
            monitor.finish()
        if lines := self._lines.pop(node, []):
            self._client.log_text(self._nested[node], "\n".join(lines) + "\n", "log.txt")
        self.flush()
        self._client.set_terminated(self._nested[node], status, at)
        del self._stages[node]

    # --- parts --------------------------------------------------------------------------------------------------

    def _metric(self, run_id: str, name: str, value: float, step: int | None, at: int) -> None:
        from mlflow.entities import Metric

        held = self._metrics.setdefault(run_id, [])
        model = self._engines.measured(name) if run_id == self._parent else None
        held.append(Metric(metric_name(name), readable(float(value)), at, step or 0, model_id=model, run_id=run_id))
        if len(held) >= BATCH:
            self.flush()

    def _set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        for name, text in tags.items():
            self._client.set_tag(run_id, name, text)

    def _log_params(self, run_id: str, params: dict[str, str]) -> None:
        from mlflow.entities import Param

        entries = [Param(k, v) for k, v in params.items()]
        for start in range(0, len(entries), 100):  # MLflow's largest batch
            self._client.log_batch(run_id, params=entries[start : start + 100])

    def _watch_system(self, node: str) -> None:
        """Start to sample CPU, memory, disk and network for a training stage that really runs (it sends events)."""
        trains = stage_entry(self._stages[node]["stage"]).trains
        wanted = self._options.system_metrics and self._live and trains
        if not wanted or node in self._monitors:
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = SystemMetricsMonitor(self._nested[node], sampling_interval=5, tracking_uri=store_uri(self._options))
        monitor.start()
        self._monitors[node] = monitor
