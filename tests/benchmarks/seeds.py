"""What INT8 costs in mAP, over several seeds: ``make bench-seeds``, or ``python -m tests.benchmarks.seeds``.

For each data set and seed: FP32, ``qat_distill`` and ``ptq``, all scored on the built engines of ONNX Runtime with the
settings of ``experiment=demo`` and ``experiment=bccd``. The seed draws the batches and the calibration images; the FP32
detector is the same throughout. It prints a table, and last one JSON object:

- ``worst_drop``: largest FP32 - INT8 of ``qat_distill`` over all data sets and seeds, in points of mAP.
- ``qat_minus_ptq``: data set -> mean over the seeds, and its 95 % interval (Student's t); ``features_minus_qat`` with
  ``--methods qat_distill qat_distill_features ptq``.

``ARGS="--bccd FOLDER"`` adds the blood cells; their FP32 detector is trained first, unless ``--weights`` names it.
Finished runs are taken from the store under ``--folder``, so an interrupted table is gone on with.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from stages.numerics.student_t import student
from tests.conftest import ROOT

QUICK = (  # only mAP counts here
    *("latency=quick", "latency.runs=10", "latency.rounds=1", "latency.max_seconds=1", "latency.warmup=1"),
    *("latency.warmup_seconds=0", "latency.images=1", "backend=[onnxruntime]", "backend.onnxruntime.tune=false"),
    "tracking=none",
)
SHORT = tuple(one for one in QUICK if not one.startswith("backend"))
"""The same for backends that are named beside it."""
PAIRS = {"qat_minus_ptq": ("qat_distill", "ptq"), "features_minus_qat": ("qat_distill_features", "qat_distill")}


def detpress(folder: Path, *arguments: str, at_most: float | None = None) -> bool:
    """One command of the program, its output kept in ``log.txt``.

    Args:
        at_most: seconds after which it is asked to stop.

    Returns:
        Whether it ended by itself.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipelines.cli", *arguments, f"run.artifacts={folder}"]
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            ended = process.wait(at_most)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
            return False
    if ended:
        raise SystemExit(f"{' '.join(arguments)} ended with {ended}; see {folder / 'log.txt'}")
    return True


def last_report(folder: Path) -> dict[str, Any]:
    """``report.json`` of the last run."""
    report: dict[str, Any] = json.loads((folder / "runs" / "latest" / "report.json").read_text())
    return report


def last_stages(folder: Path) -> dict[str, Any]:
    """Node -> what the last run noted of it, its ``entry`` in the store among that."""
    stages: dict[str, Any] = json.loads((folder / "runs" / "latest" / "run.json").read_text())["stages"]
    return stages


def measured(folder: Path, experiment: list[str], method: str, seed: int) -> dict[str, Any]:
    """mAP of FP32 and INT8 of one run, and the interval of the difference (bootstrap over the images)."""
    detpress(folder, "compress", *experiment, f"compression={method}", f"seed={seed}", *QUICK)
    of = {row["precision"]: row for row in last_report(folder)["rows"]}
    return {"fp32": of["fp32"]["map"], "int8": of["int8"]["map"], **of["int8"]["difference"]["map"]}


def experiments(options: argparse.Namespace) -> dict[str, list[str]]:
    """Data set -> what selects it on the command line."""
    extra = [*options.set]
    found = {} if options.no_shapes else {"shapes": ["experiment=demo", *extra]}
    if options.bccd:
        data = ["experiment=bccd", f"data.root={options.bccd.resolve()}"]
        weights = options.weights
        if weights is None:
            weights = options.folder / "bccd.pdparams"
            if not weights.is_file():
                detpress(options.folder, "finetune", *data, f"out={weights}", "tracking=none")
        found["bccd"] = [*data, "finetune.enabled=false", f"model.weights={weights.resolve()}", *extra]
    return found


def mean_interval(values: list[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval."""
    if len(values) < 2:
        return values[0], math.inf
    return statistics.mean(values), student(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


def told(values: list[float]) -> dict[str, float]:
    """``mean`` and, of more than one value, ``low`` and ``high`` of its 95 % interval, to three digits."""
    mean, half = mean_interval(values)
    found = {"mean": mean} if len(values) < 2 else {"mean": mean, "low": mean - half, "high": mean + half}
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("artifacts/bench-seeds"), help="where the runs are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="two to five of them")
    parser.add_argument("--methods", nargs="+", default=["qat_distill", "ptq"])
    parser.add_argument("--bccd", type=Path, help="folder of the blood cells' data set")
    parser.add_argument("--weights", type=Path, help="the blood cells' FP32 checkpoint")
    parser.add_argument("--no-shapes", action="store_true", help="leave the demo out")
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, e.g. compression.lr=1e-5")
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    options.folder.mkdir(parents=True, exist_ok=True)
    drops: list[float] = []
    against: dict[str, dict[str, Any]] = {}
    print("| data | seed | FP32 | " + " | ".join(f"{m} (INT8 - FP32, 95 %)" for m in options.methods) + " |")
    print("| --- " * (3 + len(options.methods)) + "|", flush=True)
    for data, experiment in experiments(options).items():
        scores: dict[str, list[float]] = {method: [] for method in options.methods}
        for seed in options.seeds:
            cells = []
            for method in options.methods:
                found = measured(options.folder, experiment, method, seed)
                scores[method].append(found["int8"])
                cells.append(
                    f"{found['int8']:.2f} ({found['value']:+.2f}, {found['low']:+.2f} to {found['high']:+.2f})"
                )
                if method == "qat_distill":
                    drops.append(-found["value"])
            print(f"| {data} | {seed} | {found['fp32']:.2f} | {' | '.join(cells)} |", flush=True)
        means = [f"{m:.2f} ± {h:.2f}" for m, h in (mean_interval(scores[method]) for method in options.methods)]
        print(f"| {data} | mean | | {' | '.join(means)} |", flush=True)
        for name, (ours, other) in PAIRS.items():
            if {ours, other} <= set(scores):
                mean, half = mean_interval([a - b for a, b in zip(scores[ours], scores[other], strict=True)])
                interval = {"mean": round(mean, 3), "low": round(mean - half, 3), "high": round(mean + half, 3)}
                against.setdefault(name, {})[data] = interval
    worst = {"worst_drop": round(max(drops), 3)} if drops else {}
    print(json.dumps({**worst, **against, "seeds": options.seeds}))


if __name__ == "__main__":
    main()
