"""What the orchestrator itself costs: ``make bench-orchestrator``, or ``python -m tests.benchmarks.orchestrator``.

Measured, each as the median of several tries:

- ``rerun_s``: wall seconds of a second identical ``detpress compress``, all cached, tracking on (random weights,
  FP32 only, so that the first one takes a minute).
- ``plan_s``: wall seconds of ``detpress plan`` for it.
- ``overhead_ms_per_stage``: wall milliseconds a stage of a pipeline of no-op stages, without what its worker process
  takes: keys, locks, the store, the records.
- ``cached_ms_per_stage``: the same where every stage is found in the store.

Beside them stand the processor seconds of a rerun and a plan, since wall time is the machine's load as much as ours.
The last line is one JSON object.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.execution import computing
from pipelines.execution.events import NullObserver
from pipelines.execution.runner import Node, Ref, Runner, RunnerSettings
from pipelines.store.local import Store
from tests.conftest import ROOT
from tests.pipelines.stubs import StubOptions

TRIES, STAGES = 5, 10
STUB = "tests.pipelines.stubs:Stub"
SMALL = [
    *("model.random_weights=true", "compression.method=none", "latency=quick", "latency.runs=10", "latency.warmup=1"),
    "run.reuse_latency=true",  # else a second run on a busy machine measures again
    *("data.shapes.train=1", "data.shapes.unlabeled=8", "data.shapes.val=4"),
]


def command(folder: Path, name: str) -> float:
    """Wall seconds of one command on the small config."""
    places = [f"run.artifacts={folder}", f"tracking.folder={folder / 'mlflow'}"]
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pipelines.cli", name, *SMALL, *places], cwd=folder, check=True, capture_output=True
    )
    return time.perf_counter() - started


def busy() -> float:
    """Seconds of processor time that the commands have taken so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def sent(folder: Path) -> None:
    """Wait until the records of the last run are with MLflow: they must not take the next try's processor."""
    limit = time.monotonic() + 120
    while any((folder / "runs").glob("*/tracking.jsonl")) and time.monotonic() < limit:
        time.sleep(0.2)


def stub_graph(text: str) -> list[Node]:
    def node(i: int) -> Node:
        inputs = {"first": Ref(f"s{i - 1}")} if i else {}
        return Node(
            id=f"s{i}", stage="tests.pipelines.stubs:Stub", options=StubOptions(text=f"{text}{i}"), inputs=inputs
        )

    return [node(i) for i in range(STAGES)]


def overhead(folder: Path) -> tuple[list[float], list[float]]:
    """Milliseconds a stage, computed (without the worker) and cached."""
    in_workers = 0.0
    run_worker: Callable[..., Any] = computing.run_worker

    def timed(*arguments: Any, **fields: Any) -> Any:
        nonlocal in_workers
        started = time.perf_counter()
        try:
            return run_worker(*arguments, **fields)
        finally:
            in_workers += time.perf_counter() - started

    computing.run_worker = timed
    computed: list[float] = []
    cached: list[float] = []
    for i in range(2):
        in_workers = 0.0
        computed.append((_run(folder, f"{i}.") - in_workers) * 1000 / STAGES)
        cached.append(_run(folder, f"{i}.") * 1000 / STAGES)
    computing.run_worker = run_worker
    return computed, cached


def _run(folder: Path, text: str) -> float:
    runner = Runner(Store(folder), NullObserver(), RunnerSettings(seed=0), logs=folder / "logs")
    started = time.perf_counter()
    results = runner.run(stub_graph(text))
    assert not results.failures, results.failures
    return time.perf_counter() - started


def main() -> None:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        computed, cached = overhead(folder / "stubs")
        print("the first run", file=sys.stderr)
        first = command(folder, "compress")
        reruns, plans, rerun_cpu, plan_cpu = [], [], [], []
        for i in range(TRIES):
            print(f"rerun and plan {i + 1} of {TRIES}", file=sys.stderr)
            sent(folder)
            before = busy()
            reruns.append(command(folder, "compress"))
            rerun_cpu.append(busy() - before)
            sent(folder)
            before = busy()
            plans.append(command(folder, "plan"))
            plan_cpu.append(busy() - before)
        sent(folder)
    result = {
        "first_run_s": round(first, 2),
        "rerun_s": round(statistics.median(reruns), 3),
        "rerun_s_all": [round(s, 3) for s in reruns],
        "overhead_ms_per_stage": round(statistics.median(computed), 2),
        "cached_ms_per_stage": round(statistics.median(cached), 2),
        "plan_s": round(statistics.median(plans), 3),
        "rerun_cpu_s": round(statistics.median(rerun_cpu), 3),
        "plan_cpu_s": round(statistics.median(plan_cpu), 3),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
