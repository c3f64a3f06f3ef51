"""Writes the records of a run into MLflow: a run for the pipeline, and in it one for each stage that computed.

What came from the store or is unavailable is a table of the pipeline's run (`stored.py`).

Applying the same records twice gives the same runs (they are found again by their tags), so that events which did
not arrive can simply be sent once more. Only ``MlflowClient`` is used: the fluent interface keeps its "active run" in
global state, and would turn two stages at once into a riddle.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config.options.tracking import TrackingOptions
from pipelines.execution import ids
from pipelines.system.slug import matching
from pipelines.tracking.datasets import as_dataset, as_input
from pipelines.tracking.experiments import NOTE, show_columns
from pipelines.tracking.experiments import experiment as made
from pipelines.tracking.measured import points_tag
from pipelines.tracking.models import Engines
from pipelines.tracking.names import (
    disturbed_loads,
    disturbed_metrics,
    flat,
    grouped,
    numbers,
    profile_metrics,
    profile_tags,
    run_note,
    small_files,
    timing_tags,
)
from pipelines.tracking.run_tags import of_pipeline, of_stage
from pipelines.tracking.sending import Sender, SystemMetrics
from pipelines.tracking.stored import FILE, SHOWN, SHOWN_TAG, NotComputed
from stages.catalog import stage_entry
from stages.errors import UnavailableError

if TYPE_CHECKING:
    from mlflow.entities import Dataset
    from mlflow.tracking import MlflowClient

Record = Mapping[str, Any]

HELD_MS = 3000  # a result that lies in the store is found by then


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
        self._named: set[tuple[str, str]] = set()  # node and name of what was reported as a metric
        self._comparable: list[str] = []  # names of the metrics that compare whole runs
        self._engines = Engines(client)
        self._sent = Sender(client, self._engines)
        self._system = SystemMetrics(options)
        self._held: dict[str, tuple[int, list[Record]]] = {}  # node id -> when it began, and what it said since
        self._left = NotComputed()

    def apply(self, record: Record) -> None:
        """Write one record. Whatever MLflow raises passes through."""
        getattr(self, "_" + record["kind"])(record, int(record["at"]))

    def flush(self) -> None:
        """Send the metrics that were held back, and give stages that have been at work for a while their runs."""
        now = time.time() * 1000
        for node in [n for n, (at, _) in self._held.items() if not self._live or now - at > HELD_MS]:
            self._begin(node)
        self._sent.send()

    def close(self) -> None:
        """Stop what samples in the background."""
        self._system.close()

    def _run_started(self, record: Record, at: int) -> None:
        run = self._run = record["run"]
        self._process = dict(record["process"])
        name = self._options.experiment or f"{run['model']} on {run['data']}"
        experiment = made(self._client, self._options, name, self.warnings)
        wanted = matching({"tags.run_id": run["run_id"], "tags.node": "pipeline"})
        found = self._client.search_runs([experiment], wanted, max_results=1)
        if found:
            self._parent = found[0].info.run_id
            nested = self._client.search_runs([experiment], matching({"tags.`mlflow.parentRunId`": self._parent}))
            self._nested = {r.data.tags["node"]: r.info.run_id for r in nested if "node" in r.data.tags}
        else:
            tags = of_pipeline(run, self._process)
            created = self._client.create_run(experiment, start_time=at, tags=tags, run_name=run["name"])
            self._parent = created.info.run_id
        self._sent.parent = self._parent
        self._experiment_id = experiment
        self._sent.params(self._parent, flat(run["config"]))
        self._client.log_dict(self._parent, dict(run["config"]), "config.yaml")

    def _run_finished(self, record: Record, at: int) -> None:
        folder = Path(record["report_dir"]) if record["report_dir"] else None
        self._client.set_tag(self._parent, NOTE, run_note(self._run, record, folder))
        timed = [row for row in record["summary"].get("rows") or [] if (row.get("latency") or {}).get("runtime")]
        if timed:  # whether times and ratios can be believed: a metric has no tags of its own
            loads = disturbed_loads(record["summary"].get("throughput") or [])
            self._sent.tags(self._parent, timing_tags([*disturbed_metrics(timed), *loads]))
            self._engines.tag_timings(timed)
            self._sent.tags(self._parent, points_tag(record["summary"]))
        profiles = record["summary"].get("profiles") or {}
        for name, value in profile_metrics(profiles):
            self._sent.metric(self._parent, name, value, None, at)
        self._sent.tags(self._parent, profile_tags(profiles))
        if folder:
            for path in sorted([*folder.glob("report*"), *folder.glob("promotion.*")]):
                self._client.log_artifact(self._parent, str(path))
        for node in list(self._held):
            self._begin(node)
        self._sent.send()
        show_columns(self._client, self._experiment_id, self._comparable)
        if tags := self._left.tags():
            self._client.log_dict(self._parent, self._left.table(), FILE)
            self._sent.tags(self._parent, {**tags, SHOWN_TAG: SHOWN})
        for node in [n for n in self._nested if n in self._stages]:
            self._end(node, record["status"], at)  # a stage still open was cut short with the run
        self._client.set_terminated(self._parent, record["status"], at)

    def _stage_started(self, record: Record, at: int) -> None:
        stage = record["stage"]
        node = stage["id"]
        self._stages[node] = stage
        self._lines[node] = []
        if node in self._nested:
            self._describe(node)
        else:
            self._held[node] = (at, [])  # it may turn out to lie in the store, and needs no run then

    def _begin(self, node: str) -> None:
        """Give a stage that was held back a run of its own, with what it said so far."""
        at, events = self._held.pop(node)
        stage = self._stages[node]
        tags = of_stage(self._run, self._parent, stage, self._process)
        created = self._client.create_run(self._experiment_id, start_time=at, tags=tags, run_name=node)
        self._nested[node] = created.info.run_id
        self._describe(node)
        for event in events:
            self._event(event, int(event["at"]))

    def _describe(self, node: str) -> None:
        """Options and data sets of a stage's run."""
        run_id, stage = self._nested[node], self._stages[node]
        self._sent.params(run_id, flat(stage["options"]))
        for name, digest in stage["inputs"].items():
            if digest in self._inputs:
                self._client.log_inputs(run_id, [as_input(self._inputs[digest], name)])

    def _event(self, record: Record, at: int) -> None:
        node, event = record["node"], record["event"]
        kind = event.get("event")
        if node in self._held:
            if kind != "progress":
                self._held[node][1].append(record)
                return
            self._begin(node)  # only a stage that computes tells how far it is
        run_id = self._nested[node]
        if self._live and stage_entry(self._stages[node]["stage"]).trains:
            self._system.begin(node, run_id)
        if kind == "metric":
            self._named.add((node, event["name"]))
            self._sent.metric(run_id, event["name"], event["value"], event.get("step"), at)
            self._of_the_run(node, event, at)
        elif kind == "progress":
            for name, value in numbers({k: v for k, v in event.items() if k not in ("event", "done", "total")}):
                if (node, name) not in self._named:  # else it is only shown beside the bar a second time
                    self._sent.metric(run_id, name, value, event["done"], at)
        elif kind in ("warning", "info"):
            self._lines[node].append(f"{kind}: {event['message']}")

    def _of_the_run(self, node: str, event: Record, at: int) -> None:
        """A stage's metric as one of the whole run: curves, and what compares runs."""
        step = event.get("step")
        if step is not None:
            self._sent.metric(self._parent, f"{node}.{event['name']}", event["value"], step, at)
        elif self._compares_runs(node):
            self._sent.metric(self._parent, event["name"], event["value"], None, at)
            self._comparable.append(grouped(event["name"]))

    def _compares_runs(self, node: str) -> bool:
        """Whether the names of its metrics carry the backend, or they are the whole run's."""
        stage = self._stages[node]
        return bool(stage["backend"]) or stage_entry(stage["stage"]).summarises

    def _stage_finished(self, record: Record, at: int) -> None:
        node, artifact = record["node"], record["artifact"]
        if node in self._held and not record["cached"]:
            self._begin(node)
        if node in self._held:
            self._left.stored(node, self._stages[node]["key"], artifact)
            for event in self._held.pop(node)[1]:
                if event["event"].get("event") == "metric":
                    self._of_the_run(node, event["event"], int(event["at"]))
        else:
            self._log_result(node, record, at)
        dataset = as_dataset(artifact, f"{self._run['data']} {ids.set_name(node)}")
        if dataset is not None:
            self._inputs[artifact["digest"]] = dataset
            if node in self._nested:
                self._client.log_inputs(self._nested[node], [as_input(dataset, "made")])
            self._client.log_inputs(self._parent, [as_input(dataset, ids.set_name(node))])
        if artifact["type"] == "Engine" and self._stages[node]["stage"] == "build":
            self._engines.add(self._run, self._experiment_id, self._parent, node, artifact)
        self._end(node, "FINISHED", at)

    def _log_result(self, node: str, record: Record, at: int) -> None:
        run_id, artifact = self._nested[node], record["artifact"]
        self._left.computed(node)
        self._client.set_tag(run_id, "cached", "true" if record["cached"] else "false")
        for name, value in (("seconds", record["seconds"]), ("size_bytes", artifact["size_bytes"])):
            self._sent.metric(run_id, name, value, None, at)
        if artifact["type"] in ("LatencyResult", "ThroughputResult"):
            self._sent.tags(run_id, timing_tags(artifact["fields"].get("disturbed", [])))
        for path in small_files(artifact):
            self._client.log_artifact(run_id, str(path))

    def _stage_failed(self, record: Record, at: int) -> None:
        node, error = record["node"], record["error"]
        if node in self._held and error["type"] == UnavailableError.__name__:
            del self._held[node]
            self._left.unavailable(node, self._stages[node]["key"], error["message"].partition("\n")[0][:500])
            self._end(node, "FAILED", at)
            return
        if node in self._held:
            self._begin(node)
        self._left.computed(node)
        run_id = self._nested[node]
        self._client.set_tag(run_id, "error", error["message"].partition("\n")[0][:500])
        self._client.log_text(run_id, f"{error['type']}: {error['message']}\n", "error.txt")
        self._sent.metric(run_id, "seconds", record["seconds"], None, at)
        self._end(node, "FAILED", at)

    def _end(self, node: str, status: str, at: int) -> None:
        self._system.end(node)
        if (lines := self._lines.pop(node, [])) and node in self._nested:
            self._client.log_text(self._nested[node], "\n".join(lines) + "\n", "log.txt")
        self._sent.send()
        if node in self._nested:
            self._client.set_terminated(self._nested[node], status, at)
        del self._stages[node]
