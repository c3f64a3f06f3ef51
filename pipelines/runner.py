"""Run a graph of stages: look each result up by its key, compute what is missing, carry on past what fails."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Union

from pipelines.events import Observer, StageInfo
from pipelines.process import run_worker
from pipelines.store import Entry, Key, Pending, Store
from stages.codec import to_json
from stages.contract import Artifact, input_digests
from stages.errors import DetpressError, StoreError
from stages.registry import stage_class


@dataclass(frozen=True)
class Ref:
    """The result of another node, as an input."""

    node: str


Input = Union[Ref, Artifact, Sequence[Ref], None]  # noqa: UP007 (Python 3.10 evaluates it)


@dataclass(frozen=True, kw_only=True)
class Node:
    """One stage with its options and where its inputs come from."""

    id: str
    stage: str
    options: Any
    inputs: Mapping[str, Input] = field(default_factory=dict)
    threads: int = 1
    seeded: bool = False
    """Whether the seed changes the result; only then it is part of the key."""
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    """What the stage runs on beside its packages: a backend's versions, device, driver."""
    reuse: bool = True
    """``False``: compute it again in every run (timings, the report)."""
    partial: bool = False
    """Lists of inputs may lack what failed (timings of one precision, the report)."""
    backend: str | None = None
    precision: str | None = None

    def upstream(self) -> list[str]:
        """The ids of the nodes this one needs."""
        found: list[str] = []
        for value in self.inputs.values():
            if isinstance(value, Ref):
                found.append(value.node)
            elif isinstance(value, Sequence):
                found += [ref.node for ref in value]
        return found


@dataclass
class Results:
    """What a run has so far."""

    artifacts: dict[str, Artifact] = field(default_factory=dict)
    failures: dict[str, DetpressError] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Node id -> id of the failed node it would have needed."""
    cached: set[str] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Runner:
    """Runs nodes in order against one store, and tells an observer."""

    def __init__(
        self, store: Store, observer: Observer, *, seed: int, logs: Path, timeout: float | None = None
    ) -> None:
        self.store = store
        self.observer = observer
        self.seed = seed
        self.logs = logs
        self.timeout = timeout

    def run(self, nodes: Sequence[Node], results: Results | None = None) -> Results:
        """Run ``nodes``, which stand in an order that respects their inputs.

        A node whose inputs failed is skipped; a failure never stops the nodes that do not depend on it.
        """
        results = results or Results()
        for node in nodes:
            lost = [u for u in node.upstream() if u not in results.artifacts]
            if lost and not (node.partial and self._enough(node, results)):
                results.skipped[node.id] = results.skipped.get(lost[0], lost[0])
                continue
            self._run_node(node, results)
        return results

    def key(self, node: Node, inputs: object) -> Key:
        """The key of ``node``'s result: everything that may change it, and nothing else."""
        cls = stage_class(node.stage)
        unkeyed = getattr(cls, "unkeyed", ())
        options = {k: v for k, v in to_json(node.options).items() if k not in unkeyed}
        parts: dict[str, Any] = {
            "stage": node.stage,
            "version": cls.version,
            "options": options,
            "inputs": dict(input_digests(inputs)),
            "fingerprint": {**{p: _version(p) for p in cls.packages}, **node.fingerprint},
        }
        if node.seeded:
            parts["seed"] = self.seed
        return Key(cls.name, parts)

    def _enough(self, node: Node, results: Results) -> bool:
        """Whether a partial node has its single inputs, and at least one of each of its lists."""
        for value in node.inputs.values():
            if isinstance(value, Ref) and value.node not in results.artifacts:
                return False
        return True

    def _resolve(self, node: Node, results: Results) -> Any:
        values: dict[str, Any] = {}
        for name, value in node.inputs.items():
            if isinstance(value, Ref):
                values[name] = results.artifacts[value.node]
            elif isinstance(value, Artifact) or value is None:
                values[name] = value
            else:
                values[name] = [results.artifacts[r.node] for r in value if r.node in results.artifacts]
        return stage_class(node.stage).Inputs(**values)

    def _run_node(self, node: Node, results: Results) -> None:
        inputs = self._resolve(node, results)
        key = self.key(node, inputs)
        info = StageInfo(
            id=node.id,
            stage=node.stage,
            key=key.digest,
            options=to_json(node.options),
            inputs=input_digests(inputs),
            backend=node.backend,
            precision=node.precision,
        )
        started = time.monotonic()
        self.observer.stage_started(info)
        try:
            with self.store.lock(key):
                entry = self._find(key, info, results) if node.reuse else None
                cached = entry is not None
                if entry is None:
                    entry = self._compute(node, inputs, key, info)
                else:
                    self._replay(entry, info)
        except DetpressError as error:
            results.failures[node.id] = error
            results.seconds[node.id] = time.monotonic() - started
            self.observer.stage_failed(info, error, results.seconds[node.id])
            return
        results.artifacts[node.id] = entry.artifact
        results.seconds[node.id] = time.monotonic() - started
        results.warnings += [f"{node.id}: {w}" for w in entry.warnings]
        if cached:
            results.cached.add(node.id)
        self.observer.stage_finished(info, entry.artifact, cached, results.seconds[node.id])

    def _find(self, key: Key, info: StageInfo, results: Results) -> Entry | None:
        try:
            return self.store.find(key)
        except StoreError as error:
            message = f"{error}; it is computed again"
            results.warnings.append(f"{info.id}: {message}")
            self.observer.stage_event(info, {"event": "warning", "message": message})
            self.store.discard(key)
            return None

    def _replay(self, entry: Entry, info: StageInfo) -> None:
        """A cached stage tells its numbers again, so that every run's record is whole."""
        for name, value, step in entry.metrics:
            self.observer.stage_event(info, {"event": "metric", "name": name, "value": value, "step": step})
        for message in entry.warnings:
            self.observer.stage_event(info, {"event": "warning", "message": message})

    def _compute(self, node: Node, inputs: Any, key: Key, info: StageInfo) -> Entry:
        pending = self.store.begin(key)
        warnings: list[str] = []
        metrics: list[list[Any]] = []

        def on_event(event: Mapping[str, Any]) -> None:
            if event["event"] == "warning":
                warnings.append(str(event["message"]))
            elif event["event"] == "metric":
                metrics.append([event["name"], event["value"], event.get("step")])
            self.observer.stage_event(info, event)

        started = time.monotonic()
        try:
            artifact = run_worker(
                self._request(node, inputs, pending),
                folder=pending.folder,
                log=self.logs / f"{node.id}.log",
                on_event=on_event,
                timeout=self.timeout,
            )
            if not node.reuse and self.store.folder(key).exists():
                self.store.discard(key)  # the same key measured again: the newest stands
            record = {
                "seconds": time.monotonic() - started,
                "warnings": warnings,
                "metrics": metrics,
                "node": node.id,
            }
            return self.store.commit(pending, artifact, record=record)
        except BaseException:
            self.store.abandon(pending)
            raise

    def _request(self, node: Node, inputs: Any, pending: Pending) -> dict[str, Any]:
        return {
            "stage": node.stage,
            "options": to_json(node.options),
            "inputs": {f.name: to_json(getattr(inputs, f.name)) for f in dataclasses.fields(inputs)},
            "out": str(pending.out),
            "work": str(pending.work),
            "seed": self.seed,
            "threads": node.threads,
        }


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
