"""Images a second of our engines beside others' own measurement of the same files: ``make bench-throughput``. The last
line is JSON.

- ``over_benchmark_app``: our images a second / those of OpenVINO's ``benchmark_app`` on the same engine, with as many
  streams, threads and requests.
- ``over_ort_loop``: the same over a plain loop around ONNX Runtime: a session, and a thread for each stream that runs
  it again and again.

Ours are those of the stage ``throughput``, offline, in its own process, pinned to the same CPUs. They run in turns,
every other round in reverse. A ratio is the median of the rounds' ratios; ``*_interval`` bounds their mean with 95 %.
``over_ort`` compares OpenVINO with ONNX Runtime, ours both. ``quiet``: whether the stage would call its own numbers
valid.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.artifacts import Engine
from stages.latency.timed_engine import Setup
from stages.latency.timing import Series, choose_cpus
from stages.latency.validity import VALID, Limits, verdict
from stages.numerics.student_t import student
from stages.options.accuracy import NmsOptions
from stages.options.throughput import ThroughputOptions
from stages.processes.cores import allowed_cores
from stages.throughput.engine_process import EngineProcess, started
from stages.throughput.grid import Shape
from stages.throughput.loaded_engine import LoadRound
from tests.benchmarks import preparing

BENCHMARK_APP = """
import json, os, sys
import openvino
os.sched_setaffinity(0, json.loads(sys.argv.pop(1)))
from openvino.tools.benchmark.main import main
sys.argv[0] = "benchmark_app"
main()
"""
ORT_LOOP = """
import json, os, sys, threading, time
import numpy as np
import onnxruntime as ort
os.sched_setaffinity(0, json.loads(sys.argv[2]))
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.log_severity_level = 3
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
feeds = {i.name: np.ones(i.shape, np.float32) for i in session.get_inputs()}
session.run(None, feeds)

def loop(end, counts, k):
    while time.perf_counter() < end:
        session.run(None, feeds)
        counts[k] += 1

for line in sys.stdin:
    seconds, streams = json.loads(line)
    counts, began = [0] * streams, time.perf_counter()
    threads = [threading.Thread(target=loop, args=(began + seconds, counts, k)) for k in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sum(counts) / (time.perf_counter() - began), flush=True)
"""

Turn = Callable[[], float]
"""Images a second."""


def benchmark_app(engine: Engine, shape: Shape, cpus: Sequence[int], seconds: float) -> Turn:
    """OpenVINO's own benchmark of an engine; each turn is a run of it, of which loading is not timed."""
    command = [
        sys.executable, "-c", BENCHMARK_APP, json.dumps(list(cpus)), "-m", str(engine.path(engine.main)), "-d", "CPU",
        "-api", "async", "-hint", "none", "-nstreams", str(shape.streams), "-nthreads", str(shape.cpus),
        "-nireq", str(shape.streams), "-infer_precision", "f32", "-t", str(max(1, round(seconds))),
    ]  # fmt: skip
    return lambda: throughput_of(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def throughput_of(printed: str) -> float:
    """Images a second, as ``benchmark_app`` prints them."""
    found = re.search(r"Throughput: +([0-9.]+) FPS", printed)
    if found is None:
        raise SystemExit(f"benchmark_app printed no throughput: {printed[-500:]}")
    return float(found[1])


class OrtLoop:
    """The plain loop, in a process of its own."""

    def __init__(self, model: Path, shape: Shape, cpus: Sequence[int], seconds: float) -> None:
        self._line = json.dumps([seconds, shape.streams]) + "\n"
        self._process = subprocess.Popen(
            [sys.executable, "-c", ORT_LOOP, str(model), json.dumps(list(cpus))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(self._line)
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Ours:
    """An engine in the stage's process; its rounds are kept for the verdict."""

    def __init__(self, process: EngineProcess, shape: Shape, seconds: float, batch: int) -> None:
        process.open(shape)
        self._task = process.task(10 * shape.streams)
        self._seconds, self._batch, self._window = seconds, batch, 10 * shape.streams
        self.series = Series(self._task)
        self._task.warm(2 * shape.streams, 1.0, math.inf)

    def __call__(self) -> float:
        found: LoadRound = self._task.take(10**6, 1, self._seconds, 0, lambda done: None)
        self.series.blocks.append(found)
        return self._batch * self._window * len(found.samples) / sum(found.samples)


def alternate(turns: Mapping[str, Turn], rounds: int) -> dict[str, list[float]]:
    """Images a second of each in each round; the first round only warms up."""
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds + 1):
        order = list(turns) if number % 2 else list(turns)[::-1]
        for name in order:
            rate = turns[name]()
            rates[name] += [rate] if number else []
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    return rates


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, list[float]]:
    """The median of the rounds' ratios, and 95 % bounds of their geometric mean."""
    logs = np.log(np.asarray(ours) / np.asarray(theirs))
    spread = student(len(logs) - 1) * float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    middle = float(np.mean(logs))
    return math.exp(float(np.median(logs))), [math.exp(middle - spread), math.exp(middle + spread)]


def measured(
    engines: Mapping[str, Engine], images: list[str], shape: Shape, rounds: int, seconds: float
) -> dict[str, Any]:
    """What the last line says.

    Args:
        engines: ``ort`` and ``openvino``.
    """
    cpus = choose_cpus(shape.cpus)
    setups = [Setup(engine, images, NmsOptions(), 1, cpus) for engine in engines.values()]
    ort, openvino = engines["ort"], engines["openvino"]
    with (
        tempfile.TemporaryDirectory() as first,
        tempfile.TemporaryDirectory() as second,
        started(setups[:1], Path(first)) as (one,),
        started(setups[1:], Path(second)) as (other,),
    ):
        loop = OrtLoop(ort.path(ort.main), shape, cpus, seconds)
        try:
            ours = {
                "ort": Ours(one, shape, seconds, ort.batch),
                "openvino": Ours(other, shape, seconds, openvino.batch),
            }
            app = benchmark_app(openvino, shape, cpus, seconds)
            rates = alternate({"ort": ours["ort"], "loop": loop, "openvino": ours["openvino"], "app": app}, rounds)
        finally:
            loop.close()
    options = ThroughputOptions()
    limits = Limits(options.max_foreign, options.max_drift)
    verdicts = {name: verdict(own.series, cpus, limits)["verdict"] for name, own in ours.items()}
    for name, of_rounds in rates.items():
        print(f"{name:10} {np.median(of_rounds):8.2f} images a second  {verdicts.get(name, '')}")
    found: dict[str, Any] = {}
    for name, mine, theirs in (
        ("over_benchmark_app", "openvino", "app"),
        ("over_ort_loop", "ort", "loop"),
        ("over_ort", "openvino", "ort"),
    ):
        middle, bounds = ratio(rates[mine], rates[theirs])
        print(f"{name:20} {middle:.3f} ({bounds[0]:.3f} to {bounds[1]:.3f})")
        found[name], found[f"{name}_interval"] = round(middle, 3), [round(bound, 3) for bound in bounds]
    return {
        **found,
        "images_per_s": {name: round(float(np.median(of)), 2) for name, of in rates.items()},
        "streams": shape.streams,
        "threads": shape.threads,
        "quiet": all(said == VALID for said in verdicts.values()),
    }


def prepare(folder: Path, model: str, precision: str) -> tuple[dict[str, Engine], list[str]]:
    """Our engines of both runtimes, of the model and images that ``make bench-backends`` takes."""
    config = preparing.config_of(folder, model, 8, "backend.openvino.variants=[fp32,int8]")
    artifacts = preparing.made(folder, config, preparing.own_nodes(config))
    listed = json.loads(preparing.images_of(artifacts).path("images.json").read_text())
    engines = {}
    for name, backend in (("ort", "onnxruntime"), ("openvino", "openvino")):
        engine = artifacts[f"build.{backend}.{precision}"]
        assert isinstance(engine, Engine)
        engines[name] = engine
    return engines, [entry["path"] for entry in listed][:1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="ppyoloe_s")
    parser.add_argument("--precision", default="int8", choices=("fp32", "int8"))
    parser.add_argument("--streams", type=int, help="default: all CPUs", default=allowed_cores())
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "detpress-bench-backends",
                        help="keeps what was made, for the next call")  # fmt: skip
    options = parser.parse_args()
    engines, images = prepare(options.folder.resolve(), options.model, options.precision)
    found = measured(engines, images, Shape(options.streams, 1), options.rounds, options.seconds)
    print(json.dumps({"model": options.model, "precision": options.precision, **found}))


if __name__ == "__main__":
    main()
