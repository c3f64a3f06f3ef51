"""What the tests of the scheduler share."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.config.options.schedule import ScheduleOptions
from pipelines.scheduling.jobs import JobStore, Spec
from tests.conftest import ROOT

STUB = [sys.executable, "-m", "tests.pipelines.scheduling.stub_retrain"]


def spec_for(artifacts: Path, *overrides: str, tracking: dict[str, Any] | None = None, **options: Any) -> Spec:
    """A schedule of the stub."""
    values: dict[str, Any] = {"interval": 3600.0, "backoff": 0.1, "grace": 0.5, **options}
    artifacts.mkdir(parents=True, exist_ok=True)
    command = [*STUB, f"run.artifacts={artifacts}", *overrides]
    plain = {"enabled": False, "folder": str(artifacts / "mlflow"), **(tracking or {})}
    return Spec(ScheduleOptions(**values), command, str(ROOT), str(artifacts), plain)


def plan(artifacts: Path, **values: Any) -> None:
    """What the stub does from now on."""
    artifacts.mkdir(parents=True, exist_ok=True)
    (artifacts / "stub.json").write_text(json.dumps(values))


def store_of(artifacts: Path) -> JobStore:
    return JobStore(f"sqlite:///{artifacts / 'schedule' / 'jobs.db'}")


def spans(artifacts: Path) -> list[dict[str, Any]]:
    """The begins and ends of the stub's runs."""
    path = artifacts / "spans.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def wait_for(met: Callable[[], Any], what: str, seconds: float = 90.0) -> Any:
    """What ``met`` returns once that is true."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if value := met():
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:g} s: {what}")
