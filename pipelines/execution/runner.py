"""Run a graph of stages: look each result up by its key, compute what is missing, carry on past what fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.execution import plan
from pipelines.execution.computing import Computer
from pipelines.execution.events import Observer, PlannedStage, StageInfo
from pipelines.execution.node import TIMES, Input, Node, Ref
from pipelines.execution.plan import ANY, FRESH, survey, timings_stand
from pipelines.execution.results import Results, RunnerSettings
from pipelines.store.entries import Entry, Key
from pipelines.store.local import Store
from pipelines.system.devices import DeviceLocks
from stages.codec import to_json
from stages.contract import input_digests
from stages.errors import DetpressError, StoreError

__all__ = ["Input", "Node", "Ref", "Results", "Runner", "RunnerSettings"]


class Runner:
    """Runs nodes in order against one store, and tells an observer."""

    def __init__(
        self,
        store: Store,
        observer: Observer,
        settings: RunnerSettings,
        *,
        logs: Path,
        run_id: str = "",
        provenance: Mapping[str, Any] | None = None,
        devices: DeviceLocks | None = None,
    ) -> None:
        """
        Args:
            logs: folder for what each stage prints, ``NODE.log``.
            run_id, provenance: kept with the entries that this run makes.
            devices: keeps measurements of other runs apart from this one's.
        """
        self.store = store
        self.observer = observer
        self.settings = settings
        self.run_id = run_id
        self._computer = Computer(
            store,
            observer,
            settings,
            logs=logs,
            run_id=run_id,
            provenance=provenance or {},
            devices=devices or DeviceLocks(),
        )

    def announce(self, nodes: Sequence[Node], *more: str) -> None:
        """Tell the observer what `run` will do with ``nodes``, before it does it.

        Args:
            more: ids of what follows them and is not known yet.
        """
        settings = self.settings
        records = plan.Records(self.store)
        found = survey(
            nodes, self.store, settings.seed, timings=settings.timings, python=settings.python, records=records
        )
        steps = plan.estimate(found, self.store, records)
        planned = [PlannedStage(s.node.id, s.cached, s.seconds, s.rough, plan.shorter(s.node)) for s in steps]
        self.observer.planned([*planned, *(PlannedStage(name) for name in more)])

    def run(
        self,
        nodes: Sequence[Node],
        results: Results | None = None,
        until: Callable[[Results], bool] | None = None,
    ) -> Results:
        """Run ``nodes``, which stand in an order that respects their inputs.

        A node whose inputs failed is skipped; a failure never stops the nodes that do not depend on it.

        Args:
            until: asked after each node but the last; once it is true, the other nodes are left alone.
        """
        results = results or Results()
        self.store.prepare()
        self.store.sweep()
        retimed = self._retimed(nodes, results)
        for node in nodes:
            lost = [u for u in node.upstream() if u not in results.artifacts]
            if lost and not (node.partial and self._enough(node, results)):
                results.skipped[node.id] = results.skipped.get(lost[0], lost[0])
                continue
            again = node.timed and node.table in retimed
            because = retimed[node.table] if again else ""
            self._run_node(node, results, fresh=not node.reuse or again, because=because)
            if until is not None and node is not nodes[-1] and until(results):
                break
        return results

    def _retimed(self, nodes: Sequence[Node], results: Results) -> dict[str, str]:
        """The tables whose timings are not taken from the store -> what speaks against those there themselves."""
        tables = dict.fromkeys(node.table for node in nodes if node.timed)
        if self.settings.timings != plan.AUTO or not tables:
            return dict.fromkeys(tables, "") if self.settings.timings == FRESH else {}
        seed, python = self.settings.seed, self.settings.python
        steps = survey(nodes, self.store, seed, timings=ANY, known=results.artifacts, python=python)
        return {table: plan.objection(steps, table) for table in tables if not timings_stand(steps, table)}

    def _enough(self, node: Node, results: Results) -> bool:
        """Whether a partial node has its single inputs, and at least one of each of its lists."""
        for value in node.inputs.values():
            if isinstance(value, Ref):
                if value.node not in results.artifacts:
                    return False
            elif (
                isinstance(value, Sequence)
                and value
                and not node.empty
                and not any(ref.node in results.artifacts for ref in value)
            ):
                return False
        return True

    def _run_node(self, node: Node, results: Results, *, fresh: bool, because: str = "") -> None:
        inputs = node.resolve(results.artifacts)
        key = node.key(inputs, self.settings.seed, self.settings.python)
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
        if because:
            # The line begins with the stage's name already.
            self._inform(info, f"timings are taken anew; {because.removeprefix(f'{node.id}: ')}")
        try:
            with self.store.lock(key, lambda message: self._inform(info, message), f"run {self.run_id}"):
                entry = None if fresh else self._find(key, info, results)
                cached = entry is not None
                if entry is None:
                    entry, cached = self._claimed(node, inputs, key, info, results, fresh=fresh)
                if cached:
                    self._replay(entry, info)
                    if node.timed:
                        self._inform(info, f"timed in run {entry.run}")
                    if node.timed and node.table == TIMES:
                        results.timed_in[node.id] = entry.run
            self._tell_problems(info, results)
        except (DetpressError, OSError) as error:
            self._tell_problems(info, results)
            failure = error if isinstance(error, DetpressError) else _unwritable(node.id, self.store.root, error)
            results.failures[node.id] = failure
            results.seconds[node.id] = time.monotonic() - started
            self.observer.stage_failed(info, failure, results.seconds[node.id])
            return
        results.artifacts[node.id] = entry.artifact
        results.computed[node.id] = entry.seconds
        results.seconds[node.id] = time.monotonic() - started
        results.warnings += [f"{node.id}: {w}" for w in entry.warnings]
        if cached:
            results.cached.add(node.id)
        self.observer.stage_finished(info, entry.artifact, cached, results.seconds[node.id])
        self.store.add_reference(self.run_id, [artifact.key for artifact in results.artifacts.values()])

    def _tell_problems(self, info: StageInfo, results: Results) -> None:
        while self.store.problems:
            message = self.store.problems.pop(0)
            results.warnings.append(f"{info.id}: {message}")
            self.observer.stage_event(info, {"event": "warning", "message": message})

    def _claimed(
        self, node: Node, inputs: Any, key: Key, info: StageInfo, results: Results, *, fresh: bool
    ) -> tuple[Entry, bool]:
        """Compute, unless another machine was at it and has finished; also whether that was so."""
        if fresh:  # this run's own: nobody waits for it
            return self._computer.compute(node, inputs, key, info), False
        with self.store.claim(key, lambda message: self._inform(info, message)):
            # Looked for again even if nobody held it: another may have finished between our look and our claim.
            entry = self._find(key, info, results)
            return entry or self._computer.compute(node, inputs, key, info), entry is not None

    def _inform(self, info: StageInfo, message: str) -> None:
        self.observer.stage_event(info, {"event": "info", "message": message})

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


def _unwritable(node: str, root: Path, error: OSError) -> StoreError:
    return StoreError(
        f"the result of {node} could not be written under {root}: {error.strerror or error}; make room there "
        "(`detpress gc` shows what can go) or set run.artifacts=FOLDER, then run again: finished stages are kept"
    )
