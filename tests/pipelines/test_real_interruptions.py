"""The real pipeline with its distillation, killed five times: it ends with the bits of an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.runs import history
from pipelines.store.local import Store
from tests.benchmarks.orchestrator import SMALL
from tests.conftest import ROOT

DISTILLED = [
    *("compression=qat_distill", "compression.steps=6", "compression.batch=1", "compression.calibration_images=2"),
    *("compression.checkpoint_every=1", "compression.log_every=1", "accuracy.draws=0", "threads=1"),
    *("run.reuse_latency=true", "backend.onnxruntime.tune=false"),
]


def start(folder: Path) -> subprocess.Popen[bytes]:
    settings = [word for word in SMALL if not word.startswith("compression")] + DISTILLED
    places = [f"run.artifacts={folder}", f"run.locks={folder.parent / 'locks'}", "tracking=none"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    folder.mkdir(exist_ok=True)
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "compress", *settings, *places],
            cwd=folder, env=environment, stdout=log, stderr=log,
        )  # fmt: skip


def kill(folder: Path, when: Callable[[], bool]) -> None:
    """Start it, and kill it with -9 once ``when`` holds."""
    process = start(folder)
    while process.poll() is None and not when():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


def after(seconds: float) -> Callable[[], bool]:
    begun = time.monotonic()
    return lambda: time.monotonic() - begun > seconds


def at_work(folder: Path, stage: str) -> bool:
    return any(folder.glob(f"store/.tmp/{stage}-*/request.json"))


def checkpoint(folder: Path) -> int:
    """When the distillation's checkpoint was written; 0 if there is none."""
    return max((path.stat().st_mtime_ns for path in folder.glob("work/distill-*/checkpoint.npz")), default=0)


def newest(folder: Path) -> dict[str, Any]:
    state = history.read_state(history.folders(folder)[0])
    assert state is not None and state["status"] == history.FINISHED
    return state


@pytest.mark.slow
def test_the_real_pipeline_survives_being_killed(tmp_path: Path) -> None:
    folder, chance = tmp_path / "artifacts", random.Random(1)
    kill(folder, after(chance.uniform(0.5, 3)))
    kill(folder, lambda: at_work(folder, "export"))
    for _ in range(2):  # while it distils, the second time past the step that the first had come to
        before = checkpoint(folder)
        kill(folder, lambda before=before: checkpoint(folder) > before)  # type: ignore[misc]
    kill(folder, lambda: any(folder.glob("store/distill/*/entry.json")) and at_work(folder, "export"))
    assert start(folder).wait(timeout=900) == 0, (folder / "log.txt").read_text()
    log = (folder / "log.txt").read_text()
    assert log.count("of an interrupted compression") == 2, log
    state = newest(folder)
    states = [told for run in history.folders(folder) if (told := history.read_state(run))]
    assert [s["status"] for s in states] == [history.FINISHED] + [history.KILLED] * (len(states) - 1)
    assert len(states) >= 5  # the first may have been killed before it had a folder
    store = Store(folder)
    for name in store.names():
        store.load(name)  # whole, by its digests
    report = json.loads((folder / "runs" / "latest" / "report.json").read_text())
    assert report["status"] == "ok" and report["run_id"] == state["run_id"]

    # Without an interruption, the same comes out (one thread, same seed, same machine): what hangs on it is found.
    for name in ("distill", "export.int8"):
        shutil.rmtree(folder / "store" / state["stages"][name]["entry"])
    assert start(folder).wait(timeout=900) == 0, (folder / "log.txt").read_text()
    again = newest(folder)["stages"]
    computed = [name for name, stage in again.items() if stage["status"] != "cached"]
    assert computed == ["distill", "export.int8"]  # even the report: its numbers, config and command are the same
    for name in ("distill", "export.int8"):
        assert again[name]["files"] == state["stages"][name]["files"], f"{name} has other bits"
