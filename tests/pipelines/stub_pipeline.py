"""A whole pipeline of stub stages: a run's folder, its store, its signals. Kill it as you like.

``python -m tests.pipelines.stub_pipeline ARTIFACTS [SECONDS]`` runs it once and prints what came out.
``... ARTIFACTS --tracked SECONDS b=TEXT`` runs it with MLflow and another text for the stage b: a job of a sweep.
``... ARTIFACTS --sweep TEXT...`` is that sweep, on Ray.
``python -m tests.pipelines.stub_pipeline ARTIFACTS --kill N`` kills N of them at random instants (with everything
imported beforehand, so that most kills hit the work and not the start), then lets one finish.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import zlib
from pathlib import Path

from pipelines.config.options.tracking import TrackingOptions
from pipelines.config.schema import PipelineConfig
from pipelines.execution import ray_sweep
from pipelines.execution.events import NullObserver, Observer
from pipelines.execution.runner import Node, Ref, Runner, RunnerSettings
from pipelines.runs.reporting import timings_policy
from pipelines.runs.run import open_run
from pipelines.store.local import Store
from pipelines.tracking.observer import MlflowObserver
from tests.pipelines.stubs import StubOptions

STUB = "tests.pipelines.stubs:Stub"


def graph(seconds: float, b: str = "b") -> list[Node]:
    def node(name: str, **fields: object) -> Node:
        options = StubOptions(text=b if name == "b" else name, seconds=seconds)
        return Node(id=name, stage=STUB, options=options, **fields)  # type: ignore[arg-type]

    return [
        node("a"),
        node("b", inputs={"first": Ref("a")}),
        node("time", inputs={"first": Ref("b")}, timed=True),
        node("report", inputs={"others": [Ref("a"), Ref("b"), Ref("time")]}, reuse=False, partial=True),
    ]


def run(
    artifacts: Path, seconds: float = 0.0, observers: list[Observer] | None = None, b: str = "b"
) -> dict[str, object]:
    """One run; what it made and how."""
    config = PipelineConfig(seed=hash_of(b))
    config.model.name, config.run.artifacts = "stub", str(artifacts)
    with open_run(config, pipeline="compress", command=["stub"], observers=observers or [NullObserver()]) as opened:
        store = Store(artifacts)
        timings = timings_policy(config)
        run_id = opened.info.run_id
        settings = RunnerSettings(seed=0, timings=timings, timeout=120)
        runner = Runner(store, opened.observer, settings, logs=opened.logs, run_id=run_id)
        results = runner.run(graph(seconds, b), opened.results)
        opened.finish("FAILED" if results.failures else "FINISHED", {})
    return {
        "run": opened.info.run_id,
        "resumed_from": opened.info.resumed_from,
        "texts": {name: a.path("text.txt").read_text() for name, a in results.artifacts.items()},
        "cached": sorted(results.cached),
        "failures": {name: str(error) for name, error in results.failures.items()},
    }


def hash_of(b: str) -> int:
    """Another text is another config: none of these stages uses the seed, but a run's digest does."""
    return 0 if b == "b" else zlib.crc32(b.encode())


def tracked(artifacts: Path, seconds: float, b: str) -> dict[str, object]:
    return run(artifacts, seconds, [MlflowObserver(TrackingOptions(folder=str(artifacts / "mlflow")))], b)


def sweep(artifacts: Path, texts: list[str]) -> list[int]:
    """Its jobs on a Ray cluster of this machine, two at once."""
    options = ray_sweep.RayOptions(local_cpus=2)
    with ray_sweep.sweep([str(artifacts), "--tracked", "0.5"], "tests.pipelines.stub_pipeline"):
        return ray_sweep.launch(options, [[f"b={text}"] for text in texts], logs=artifacts / "logs")


def kill(artifacts: Path, count: int) -> dict[str, object]:
    """Kill ``count`` runs with -9, each at a random instant of its life, and let the last one finish.

    A run that ends before its killer comes is not counted, and shortens the time that the next ones are given.
    """
    chance, limit = random.Random(0), 0.9
    killed = 0
    while killed < count and limit > 0.05:
        child = os.fork()
        if child == 0:
            run(artifacts, 0.05)
            os._exit(0)
        time.sleep(chance.uniform(0.0, limit))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
        else:
            limit *= 0.95
    return {"killed": killed, **run(artifacts)}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if "--kill" in sys.argv:
        print(json.dumps(kill(folder, int(sys.argv[3]))))
    elif "--sweep" in sys.argv:
        print(json.dumps({"codes": sweep(folder, sys.argv[3:])}))
    elif "--tracked" in sys.argv:
        print(json.dumps(tracked(folder, float(sys.argv[3]), sys.argv[4].removeprefix("b="))))
    else:
        print(json.dumps(run(folder, float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)))
