"""A run's folder and its frame: who is told, what is written down, and how it ends."""

from __future__ import annotations

import contextlib
import errno
import json
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape

from pipelines.config.digest import config_digest
from pipelines.config.schema import PipelineConfig
from pipelines.config.user_data import described
from pipelines.execution.events import NullObserver, Observer, Observers, RunInfo, StageInfo
from pipelines.execution.interpreter import OWN, Interpreter
from pipelines.execution.paddle_python import paddle_python
from pipelines.execution.runner import Results
from pipelines.runs import history
from pipelines.runs.console import LogObserver
from pipelines.runs.observers import default_observers
from pipelines.runs.progress import ProgressWriter
from pipelines.system import provenance
from pipelines.system.files import write_text
from pipelines.system.output import err
from pipelines.system.redact import redact
from pipelines.system.run_lock import alive
from pipelines.system.signals import stopped_by
from pipelines.system.slug import slug
from stages.artifacts import Artifact, digest_of
from stages.codec import to_json
from stages.errors import StoreError
from stages.outside.text import told


@dataclass
class Run:
    """An open run."""

    info: RunInfo
    observer: Observers
    config_digest: str = ""
    results: Results = field(default_factory=Results)
    versions: Mapping[str, str] = field(default_factory=dict)
    python: Interpreter = OWN
    """What the workers are; ``versions`` are its packages."""
    started: float = field(default_factory=time.time)
    ended: bool = False
    """How it ended is recorded: nothing that happens afterwards changes that."""
    _clock: float = field(default_factory=time.monotonic)
    """Durations are not read off the wall clock, which may be set during a run."""

    @property
    def logs(self) -> Path:
        return self.info.run_dir / "logs"

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._clock

    @property
    def provenance(self) -> dict[str, Any]:
        """What is kept with every result that this run computes."""
        return {
            "command": self.info.command,
            "commit": self.info.commit,
            "hardware": self.info.hardware,
            "driver": provenance.driver(),
            "python": self.python.version,
            "versions": dict(self.versions),
        }

    def finish(self, status: str, summary: Mapping[str, Any], report_dir: Path | None = None) -> None:
        """Record the end of the run and tell its observers; what is printed of it comes afterwards.

        Args:
            summary: plain data for people, e.g. the content of the report.
            report_dir: the folder of the report.
        """
        self.save_state(status)
        self.ended = True
        self.observer.run_finished(status, summary, report_dir)

    def save_state(self, status: str) -> None:
        """Write ``run.json``: what ran, from where, and how each stage ended (``RUNNING``: so far)."""
        results = self.results
        state: history.RunState = {
            "schema_version": 1,
            "run_id": self.info.run_id,
            "pipeline": self.info.pipeline,
            "model": self.info.model,
            "data": self.info.data,
            "status": status,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
            "seconds": round(self.seconds, 3),
            "resumed_from": self.info.resumed_from,
            "config_digest": self.config_digest,
            "seed": self.info.config.get("seed"),
            "folder": str(Path.cwd()),
            "store": self.info.config.get("run", {}).get("store"),
            "command": self.info.command,
            "commit": self.info.commit,
            "hardware": self.info.hardware,
            "driver": provenance.driver(),
            "python": self.python.version,
            "paddle_python": self.python.path,
            "versions": dict(self.versions),
            "stages": _stages(results),
            "timed_in": results.timed_in,
            "warnings": results.warnings,
        }
        write_text(self.info.run_dir / "run.json", json.dumps(state, indent=1))


def _stages(results: Results) -> dict[str, history.StageState]:
    stages: dict[str, history.StageState] = {
        name: {
            "status": "cached" if name in results.cached else "done",
            "entry": artifact.key,
            "digest": artifact.digest,
            "files": digest_of(artifact.files),
            "seconds": round(results.seconds[name], 3),
        }
        for name, artifact in results.artifacts.items()
    }
    for name, error in results.failures.items():
        stages[name] = {"status": "failed", "error": str(error)}
    for name, cause in results.skipped.items():
        stages[name] = {"status": "skipped", "because": cause}
    return stages


@contextlib.contextmanager
def open_run(
    config: PipelineConfig, *, pipeline: str, command: Sequence[str], observers: Sequence[Observer] | None = None
) -> Iterator[Run]:
    """Make the run's folder, tell the observers that it began, and see to it that signals end it in order."""
    python = paddle_python(config.run.paddle_python)
    artifacts = Path(config.run.artifacts).resolve()
    data = config.data.name or config.data.kind
    stamp = time.strftime("%Y%m%d-%H%M%S")
    run_id = f"{stamp}-{slug(config.model.name)}-{slug(data)}-{secrets.token_hex(2)}"
    folder = artifacts / "runs" / run_id
    plain = redact(to_json(config))
    plain.pop("schedule")  # it says when a run is started, not what it does
    digest = config_digest(config)
    try:
        history.mark_killed(artifacts)
        folder.mkdir(parents=True)
        write_text(folder / "config.yaml", yaml.safe_dump(plain, sort_keys=False))
    except OSError as error:
        raise StoreError(
            f"cannot write to {folder.parent}: {error.strerror}; set run.artifacts=FOLDER to one that is writable"
        ) from error
    info = RunInfo(
        run_id=run_id,
        name=called(pipeline, config.model.name, data, time.strftime("%H:%M")),
        pipeline=pipeline,
        model=config.model.name,
        data=data,
        config=plain,
        command=shlex.join(redact(list(command))),
        hardware=provenance.hardware(),
        commit=provenance.commit(),
        run_dir=folder,
        resumed_from=history.interrupted(artifacts, pipeline, digest),
    )
    if observers is None:
        observers = default_observers(config)
    run = Run(info, Observers(observers), digest, versions=python.packages(), python=python)
    run.observer.add(_StateWriter(run))
    run.observer.add(ProgressWriter(folder))
    log = LogObserver()
    run.observer.add(log)
    warned: list[str] = []
    with contextlib.closing(log), _told_of_a_full_disk(artifacts), stopped_by(), alive(folder):
        try:
            run.save_state("RUNNING")
            run.observer.run_started(info)
            warned = _tell_warnings(run)
            lines = [f"data: {line}" for line in described(config.data)]
            if python.path is not None:
                lines.insert(0, f"stages run on {python.path} (Python {python.version})")
            for line in lines:
                _console().print(escape(told(line)), soft_wrap=True)
            yield run
        except BaseException as stop:
            if run.ended:
                raise
            status = "FAILED" if isinstance(stop, Exception) else "KILLED"
            with contextlib.suppress(OSError):  # a full disk must not hide why the run ended
                run.save_state(status)
            run.observer.run_finished(status, {"error": str(stop)}, None)
            raise
        finally:
            _tell_warnings(run, warned)


def called(pipeline: str, model: str, data: str, clock: str) -> str:
    """What people call a run: ``compress · tiny · bccd · 17:31``."""
    return " · ".join(part for part in (pipeline, model.removeprefix("ppyoloe_"), data, clock) if part)


@contextlib.contextmanager
def _told_of_a_full_disk(artifacts: Path) -> Iterator[None]:
    """A disk that is full or became read-only is the user's to mend, not a bug."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        raise StoreError(
            f"cannot write under {artifacts}: {error.strerror}; make room there (`detpress gc` shows what can go) or "
            "set run.artifacts=FOLDER, then run again: finished stages are kept"
        ) from error


class _StateWriter(NullObserver):
    """Keeps ``run.json`` up to date, for readers during the run or after it was killed."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def stage_finished(self, stage: StageInfo, artifact: Artifact, cached: bool, seconds: float) -> None:
        self._run.save_state("RUNNING")

    def stage_failed(self, stage: StageInfo, error: Exception, seconds: float) -> None:
        self._run.save_state("RUNNING")


def _tell_warnings(run: Run, before: Sequence[str] = ()) -> list[str]:
    """What the observers want known, however the run ended (e.g. that the tracking store lacks part of it).

    Args:
        before: what was told before.
    """
    console = _console()
    warnings = [message for message in run.observer.warnings if message not in before]
    for message in warnings:
        console.print(f"[yellow]warning[/] {escape(told(message))}", soft_wrap=True)
    return warnings


def _console() -> Console:
    return Console(file=err(), highlight=False, emoji=False, force_jupyter=False)
