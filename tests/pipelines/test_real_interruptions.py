"""The real pipeline, killed five times at random instants: the next run ends with what an undisturbed one finds."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import history
from pipelines.store import Store
from tests.bench.orchestrator import SMALL
from tests.conftest import ROOT


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipelines.cli", "compress", *SMALL, f"run.artifacts={folder}", "tracking=none"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    folder.mkdir(exist_ok=True)
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def weights(folder: Path) -> dict[str, str]:
    """Digests of the exported model's files, of the newest run."""
    state = history.read_state(history.folders(folder)[0])
    assert state is not None and state["status"] == history.FINISHED
    files = Store(folder).load(state["stages"]["export.fp32"]["entry"]).files
    return {name: digest for name, digest in files.items() if name != "infer_cfg.yml"}


@pytest.mark.slow
def test_the_real_pipeline_survives_being_killed(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "a", tmp_path / "b"
    started = time.monotonic()
    assert start(undisturbed).wait(timeout=600) == 0, (undisturbed / "log.txt").read_text()
    life = time.monotonic() - started
    chance = random.Random(1)
    for _ in range(5):
        process = start(killed)
        try:
            process.wait(timeout=chance.uniform(0.1, 0.4) * life)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert start(killed).wait(timeout=600) == 0, (killed / "log.txt").read_text()
    assert weights(killed) == weights(undisturbed)
    store = Store(killed)
    for name in store.names():
        store.load(name)  # whole, by its digests
    states = [state for folder in history.folders(killed) if (state := history.read_state(folder))]
    assert states[0]["status"] == history.FINISHED
    assert all(state["status"] in (history.KILLED, history.FINISHED) for state in states)
    report = json.loads((killed / "runs" / "latest" / "report.json").read_text())
    assert report["status"] == "ok" and report["run_id"] == states[0]["run_id"]
