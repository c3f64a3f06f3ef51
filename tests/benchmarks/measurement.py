"""How good the measuring itself is: ``make bench-measurement``. The last line is JSON.

- ``end2end_minus_runtime_ms``: what preprocessing and NMS cost for a 640x640 detector of 80 classes, on one thread, the
  decoding of the image left out (medians, the latency stage's own two modes).
- ``end2end_minus_runtime_graph_ms``: the same with NMS and the normalisation of pixels in the engine, whose Runtime
  holds them then; ``end2end_saved_ms`` is by how much End2End is shorter so.
- ``bootstrap_s``: a paired bootstrap of two engines on 5000 images' worth of matches, 1000 draws, on all cores.
  ``matching_s`` is what it takes to match both beforehand.
- ``harness_ratio``: median of an engine in the latency stage's process / median in a bare loop around ONNX Runtime in
  another one, in turns. 1 means that the harness adds nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from stages.detection.differences import differ
from stages.detection.matching import match
from stages.latency.engine_process import EngineProcess, started
from stages.latency.timed_engine import END2END, RUNTIME, Setup
from stages.latency.timing import choose_cpus
from stages.options.accuracy import NmsOptions
from stages.options.export import Inside
from tests.benchmarks import detector, synthetic

_GRAPH = "_graph"
RUNTIME_GRAPH, END2END_GRAPH = RUNTIME + _GRAPH, END2END + _GRAPH
BARE = """
import json, os, sys, time
import numpy as np
import onnxruntime as ort
os.sched_setaffinity(0, json.loads(sys.argv[2]))
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.log_severity_level = 3
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
feeds = {i.name: np.ones(i.shape, np.float32) for i in session.get_inputs()}
for line in sys.stdin:
    took = []
    for _ in range(int(line)):
        start = time.perf_counter()
        session.run(None, feeds)
        took.append(time.perf_counter() - start)
    print(json.dumps(took), flush=True)
"""


def bootstrap(draws: int, threads: int) -> dict[str, float]:
    labels = synthetic.truth()
    start = time.perf_counter()
    base, other = (match(labels, synthetic.detections(labels, q, seed)) for q, seed in ((1.0, 1), (0.98, 2)))
    matched = time.perf_counter()
    found, _ = differ(base, other, draws, seed=0, threads=threads)
    done = time.perf_counter()
    told = found["map"]
    print(f"{base.score.size + other.score.size} detections; mAP {told['value']:+.2f} "
          f"({told['low']:+.2f} to {told['high']:+.2f})")  # fmt: skip
    return {"matching_s": round(matched - start, 2), "bootstrap_s": round(done - matched, 2)}


def latency(rounds: int, runs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        engine, images = detector.engine(folder / "engine"), detector.photographs(folder / "images")
        inside = detector.engine(folder / "inside", Inside(NmsOptions(), True))
        paths = [entry["path"] for entry in json.loads(images.path("images.json").read_text())]
        cpus = choose_cpus(1)
        setups = [Setup(each, paths, NmsOptions(), 1, cpus) for each in (engine, inside)]
        with started(setups[:1], folder) as (process,), started(setups[1:], folder) as (graph,):
            bare = subprocess.Popen(
                [sys.executable, "-c", BARE, str(engine.path(engine.main)), json.dumps(cpus)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            try:
                samples = _alternate(process, graph, bare, rounds, runs)
            finally:
                bare.kill()
                bare.communicate()
            parts = process.closing()["parts"]
            graph.closing()
    medians = {name: np.array([np.median(part) for part in parts_of]) for name, parts_of in samples.items()}
    print("medians, ms: " + ", ".join(f"{n} {1e3 * np.median(m):.2f}" for n, m in medians.items()))
    print("parts of End2End, ms: " + ", ".join(f"{name} {value:.2f}" for name, value in parts.items()))

    def apart(one: str, other: str) -> float:
        return round(1e3 * float(np.median(medians[one] - medians[other])), 3)

    return {
        "end2end_minus_runtime_ms": apart(END2END, RUNTIME),
        "end2end_minus_runtime_graph_ms": apart(END2END_GRAPH, RUNTIME_GRAPH),
        "end2end_saved_ms": apart(END2END, END2END_GRAPH),
        "harness_ratio": round(float(np.median(medians[RUNTIME] / medians["bare"])), 4),
    }


def _alternate(
    process: EngineProcess, graph: EngineProcess, bare: Any, rounds: int, runs: int
) -> dict[str, list[list[float]]]:
    samples: dict[str, list[list[float]]] = {RUNTIME: [], "bare": [], END2END: [], RUNTIME_GRAPH: [], END2END_GRAPH: []}

    def turn(name: str, count: int) -> list[float]:
        if name == "bare":
            bare.stdin.write(f"{count}\n")
            bare.stdin.flush()
            return list(json.loads(bare.stdout.readline()))
        inside = name in (RUNTIME_GRAPH, END2END_GRAPH)
        task = (graph if inside else process).task(name.removesuffix(_GRAPH))
        return task.take(count, count, 1e9, 0, lambda done: None).samples

    for r in range(rounds + 1):
        order = list(samples) if r % 2 else list(samples)[::-1]
        for name in order:
            turn(name, 5)
            took = turn(name, runs)
            if r:  # the first round warms up
                samples[name].append(took)
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--runs", type=int, default=40, help="of each round")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = {**latency(options.rounds, options.runs), **bootstrap(options.draws, cores), "draws": options.draws}
    print(json.dumps({**found, "cores": cores}))


if __name__ == "__main__":
    main()
