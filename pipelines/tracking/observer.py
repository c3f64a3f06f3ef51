"""Tells MLflow of a run while it runs, without making it wait and without being able to stop it.

The runner's calls become plain records: a line in ``RUN_DIR/tracking.jsonl`` and an entry in a queue, which one
thread empties into MLflow (see ``pipelines/tracking/writer.py``). MLflow is imported in that thread, so the first
stage does not wait for it. If the store cannot be reached the run continues; its records stay on disk and are sent when
it ends, or else by the next run that reaches the store.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config.options.tracking import TrackingOptions
from pipelines.execution.events import PlannedStage, RunInfo, StageInfo
from pipelines.system.process_identity import this_process
from pipelines.system.redact import redact, redact_text
from pipelines.tracking.client import connect, half_database, store_uri
from pipelines.tracking.delivery import send_in_background
from pipelines.tracking.earlier import one_line, send, tidy, untold
from pipelines.tracking.spool import Spool
from pipelines.tracking.writer import MlflowWriter
from stages.artifacts import Artifact

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

FLUSH_SECONDS = 2.0
CLOSE_SECONDS = 120.0  # how long the end of a run waits for the store
KILLED_SECONDS = 1.0  # the same where the run is being stopped: whoever stops it waits too
HOLD_SECONDS = 6.0  # a run that finds everything in the store is over by then, and never imports MLflow


class MlflowObserver:
    """An ``Observer`` that writes the run to MLflow."""

    def __init__(
        self, options: TrackingOptions, *, close_seconds: float = CLOSE_SECONDS, hand_over: bool = False
    ) -> None:
        """
        Args:
            close_seconds: how long the end of a run waits for the store.
            hand_over: let a process of its own send the records of a run that computed nothing, since such a run is
                over before MLflow is imported (see ``pipelines/tracking/delivery.py``).
        """
        self.warnings: list[str] = []
        self._options = options
        self._close_seconds = close_seconds
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._spool: Spool | None = None
        self._run_dir = Path()
        self._resumed_from: str | None = None
        self._error: Exception | None = None
        self._ended = False
        self._sent = self._left_to_thread = False
        self._began, self._clock = time.time(), time.monotonic()
        self._go = threading.Event()  # there is work that is worth the import of MLflow
        self._handed_over = False
        self._lock = threading.Lock()
        if not hand_over:
            self._go.set()
        self._seen_end = False  # by the thread, which trails behind

    # --- what the runner calls ----------------------------------------------------------------------------------

    def run_started(self, run: RunInfo) -> None:
        self._run_dir = run.run_dir
        self._resumed_from = run.resumed_from
        self._spool = Spool(run.run_dir / "tracking.jsonl")
        self.warnings += untold(run.run_dir.parent, self._store)
        with contextlib.suppress(OSError):  # it is told when the database is opened
            if text := half_database(self._options):
                self.warnings.append(text)
        self._put("run_started", run=_plain(run), process=this_process(), store=self._store)
        self._thread.start()

    def planned(self, stages: Sequence[PlannedStage]) -> None:
        """Nothing has happened yet."""

    def stage_started(self, stage: StageInfo) -> None:
        self._put("stage_started", stage=_plain(stage))

    def stage_event(self, stage: StageInfo, event: Mapping[str, Any]) -> None:
        self._put("event", node=stage.id, event=dict(event))
        if event.get("event") == "progress":
            self._go.set()

    def stage_finished(self, stage: StageInfo, artifact: Artifact, cached: bool, seconds: float) -> None:
        record = artifact_record(artifact)
        self._put("stage_finished", node=stage.id, artifact=record, cached=cached, seconds=seconds)
        if not cached and stage.stage != "report":
            self._go.set()

    def stage_failed(self, stage: StageInfo, error: Exception, seconds: float) -> None:
        said = {"type": type(error).__name__, "message": str(error)}
        self._put("stage_failed", node=stage.id, error=said, seconds=seconds)
        self._go.set()

    def run_finished(self, status: str, summary: Mapping[str, Any], report_dir: Path | None) -> None:
        if self._ended or self._spool is None:
            return
        folder = str(report_dir) if report_dir else None
        self._put("run_finished", status=status, summary=dict(summary), report_dir=folder)
        self._ended = True
        if status == "FINISHED" and self._hand_over():
            return
        self._go.set()
        patience = min(self._close_seconds, KILLED_SECONDS) if status == "KILLED" else self._close_seconds
        self._thread.join(patience)
        with self._lock:
            # A thread that ended without saying so leaves the file to us.
            late = self._left_to_thread = not self._sent and self._thread.is_alive()
        error = TimeoutError(f"it did not take everything within {patience:g} s") if late else self._error
        if error is not None:
            self.warnings.append(
                f"MLflow at {self._store} does not have all of this run: {one_line(error)}. The events are kept "
                f"in {self._spool.path} and are sent by the next run that reaches it"
            )
        if not late:  # else the thread still reads it, and closes it if this process lives so long
            self._spool.close(delivered=error is None)

    def _hand_over(self) -> bool:
        """Leave the records to a process of their own, unless they are being sent already."""
        with self._lock:
            self._handed_over = not self._go.is_set()
        if not self._handed_over:
            return False
        self._go.set()
        assert self._spool is not None
        log = self._run_dir / "logs" / "tracking.log"
        try:
            send_in_background(self._spool, self._options, log, self._resumed_from)
        except OSError as error:
            self.warnings.append(f"MLflow does not have this run yet, the next one sends it: {one_line(error)}")
        self._spool.close(delivered=False)
        return True

    # --- what happens to it -------------------------------------------------------------------------------------

    @property
    def _store(self) -> str:
        """The tracking URI as it may be shown."""
        return redact_text(store_uri(self._options))

    def _now(self) -> int:
        """Milliseconds since the epoch as the run began, and from there by a clock that nobody sets: no stage of it
        ends before it begins."""
        return round((self._began + time.monotonic() - self._clock) * 1000)

    def _put(self, kind: str, **content: Any) -> None:
        record = redact({"kind": kind, "at": self._now(), **content})
        assert self._spool is not None, "run_started comes first"
        self._spool.append(record)
        self._queue.put(record)

    def _work(self) -> None:
        """The thread: everything that touches MLflow."""
        self._go.wait(HOLD_SECONDS)
        with self._lock:
            if self._handed_over:
                return
            self._go.set()
        try:
            self._deliver()
        except Exception as error:  # whatever a store or a network can raise: the records are on disk
            self._error = error
            self._await_end()
            try:  # the store may have come back since
                assert self._spool is not None
                send(self._spool, self._options)
                self._error = None
            except Exception as again:
                self._error = again
        with self._lock:
            self._sent, left = True, self._left_to_thread
        if left:  # a program continues after its call: the file would stay locked, and no run could send it
            assert self._spool is not None
            self._spool.close(delivered=self._error is None)

    def _deliver(self) -> None:
        client = connect(self._options)
        writer = MlflowWriter(client, self._options)
        try:
            self._follow(writer, client)
        finally:
            writer.close()
            self.warnings += writer.warnings

    def _follow(self, writer: MlflowWriter, client: MlflowClient) -> None:
        flushed = time.monotonic()
        while True:
            try:
                record = self._next(FLUSH_SECONDS)
            except queue.Empty:
                record = None
            if record is not None:
                writer.apply(record)
                if record["kind"] == "run_started":
                    runs, run_id = self._run_dir.parent, self._run_dir.name
                    self.warnings += tidy(client, self._options, runs, run_id, self._resumed_from)
                if record["kind"] == "run_finished":
                    return
            if record is None or time.monotonic() - flushed > FLUSH_SECONDS:
                writer.flush()
                flushed = time.monotonic()

    def _next(self, timeout: float | None = None) -> dict[str, Any]:
        record = self._queue.get(timeout=timeout)
        self._seen_end = record["kind"] == "run_finished"
        return record

    def _await_end(self) -> None:
        while not self._seen_end:
            self._next()


def artifact_record(artifact: Artifact) -> dict[str, Any]:
    """An artifact as plain data."""
    fields = {f.name: getattr(artifact, f.name) for f in dataclasses.fields(artifact)}
    for name in ("root", "files", "key"):
        del fields[name]
    return {
        "type": type(artifact).__name__,
        "digest": artifact.digest,
        "root": str(artifact.root),
        "files": list(artifact.files),
        "size_bytes": artifact.size_bytes,
        "fields": {k: str(v) if hasattr(v, "value") else v for k, v in fields.items()},
    }


def _plain(info: RunInfo | StageInfo) -> dict[str, Any]:
    values = {f.name: getattr(info, f.name) for f in dataclasses.fields(info)}
    return {k: str(v) if isinstance(v, Path) else dict(v) if isinstance(v, Mapping) else v for k, v in values.items()}
