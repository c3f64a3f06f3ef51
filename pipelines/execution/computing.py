"""Computes what is not stored: a worker for the stage, its device held meanwhile, the result put into the store."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.execution import work
from pipelines.execution.events import Observer, StageInfo
from pipelines.execution.node import Node
from pipelines.execution.results import RunnerSettings
from pipelines.execution.worker import run_worker
from pipelines.store.entries import Entry, Key
from pipelines.store.local import Pending, Store
from pipelines.system.devices import DeviceLocks
from pipelines.system.provenance import machine
from stages.codec import to_json
from stages.errors import AgreementError, StageError


class Computer:
    """Runs one stage after another for one run; arguments as of `pipelines.execution.runner.Runner`."""

    def __init__(
        self,
        store: Store,
        observer: Observer,
        settings: RunnerSettings,
        *,
        logs: Path,
        run_id: str,
        provenance: Mapping[str, Any],
        devices: DeviceLocks,
    ) -> None:
        self._store = store
        self._observer = observer
        self._settings = settings
        self._logs = logs
        self._run_id = run_id
        self._provenance = dict(provenance)
        self._devices = devices

    def compute(self, node: Node, inputs: Any, key: Key, info: StageInfo) -> Entry:
        """Compute, and again if the stage failed in a way that may not repeat itself."""
        for left in range(self._settings.retries, 0, -1):
            try:
                return self._once(node, inputs, key, info)
            except StageError as error:
                if isinstance(error, AgreementError):
                    raise
                tries = "once more" if left == 1 else f"{left} times more"
                message = f"{error}\nrun.stage_retries: it is tried {tries}, from its checkpoint if there is one"
                self._observer.stage_event(info, {"event": "warning", "message": message})
        return self._once(node, inputs, key, info)

    def _once(self, node: Node, inputs: Any, key: Key, info: StageInfo) -> Entry:
        pending = self._store.begin(key)
        warnings: list[str] = []
        metrics: list[list[Any]] = []

        def on_event(event: Mapping[str, Any]) -> None:
            if event["event"] == "warning":
                warnings.append(str(event["message"]))
            elif event["event"] == "metric":
                metrics.append([event["name"], event["value"], event.get("step")])
            self._observer.stage_event(info, event)

        def wait(message: str) -> None:
            self._observer.stage_event(info, {"event": "info", "message": message})

        lock = self._devices.timing(node.device, wait) if node.timed else self._devices.working(wait)
        try:
            with lock:
                started = time.monotonic()
                artifact = run_worker(
                    self._request(node, inputs, pending),
                    folder=pending.folder,
                    log=self._logs / f"{node.id}.log",
                    on_event=on_event,
                    timeout=self._settings.timeout,
                    interpreter=self._settings.python.path,
                )
                seconds = time.monotonic() - started
            if self._store.folder(key).exists():
                self._store.discard(key)  # the same key measured again: the newest stands
            record = {
                "seconds": seconds,
                "warnings": warnings,
                "metrics": metrics,
                "node": node.id,
                "work": work.plain(node.work),
                "run": self._run_id,
                "machine": machine(),
                "provenance": self._provenance,
            }
            return self._store.commit(pending, artifact, record=record)
        except BaseException:
            self._store.abandon(pending)
            raise

    def _request(self, node: Node, inputs: Any, pending: Pending) -> dict[str, Any]:
        return {
            "stage": node.stage,
            "options": to_json(node.options),
            "inputs": {f.name: to_json(getattr(inputs, f.name)) for f in dataclasses.fields(inputs)},
            "out": str(pending.out),
            "work": str(pending.work),
            "seed": self._settings.seed,
            "threads": node.threads,
            "cores": max(node.cores, node.threads),
            "device": self._settings.device,
        }
