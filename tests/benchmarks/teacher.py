"""A larger teacher beside the model's own FP32: ``make bench-teacher``, or ``python -m tests.benchmarks.teacher``.

On the blood cells (``--bccd FOLDER``): the tiny detector and ``ppyoloe_s`` at its input size are trained on the same
labels, unless ``--weights`` and ``--teacher-weights`` name them. Then, for each seed, the tiny one is distilled from
its own FP32 and from the larger one, by the same loss and in as many steps, on images without labels. It prints a line
a seed, and last one JSON object:

- ``helps``: whether INT8 taught by the larger one is at least its own FP32: the lower bound of the paired difference of
  every seed is above -0.2 points of mAP.
- ``lows``: those bounds; ``own_lows``: the same without the larger teacher.
- ``gain``: mean over the seeds of INT8 with the larger teacher - INT8 without it, with its 95 % interval (Student's t).
- ``teacher_map``: what the larger one scores itself.

``--smallest`` is one seed of a few steps, to see that it runs: its figures say nothing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tests.benchmarks.seeds import QUICK, detpress, last_report, told

TEACHER = "ppyoloe_s"
SIZE = "model.input_size=[320,320]"
LEAST = -0.2
SMALLEST = ("compression.steps=4", "compression.eval_every=2", "finetune.steps=4")


def report(folder: Path) -> dict[str, dict[str, Any]]:
    """Precision -> the row of the last run's report."""
    return {row["precision"]: row for row in last_report(folder)["rows"]}


def compressed(folder: Path, arguments: list[str]) -> dict[str, float]:
    """mAP of INT8, and INT8 - FP32 with its interval."""
    detpress(folder, "compress", *arguments, *QUICK)
    row = report(folder)["int8"]
    return {"map": row["map"], **row["difference"]["map"]}


def result(own: list[dict[str, float]], taught: list[dict[str, float]], teacher: float | None) -> dict[str, Any]:
    """The last line, of the runs of all seeds without and with the larger teacher."""
    return {
        "helps": all(one["low"] > LEAST for one in taught),
        "lows": [round(one["low"], 3) for one in taught],
        "own_lows": [round(one["low"], 3) for one in own],
        "gain": told([a["map"] - b["map"] for a, b in zip(taught, own, strict=True)]),
        "teacher_map": None if teacher is None else round(teacher, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("artifacts/bench-teacher"), help="where the runs are kept")
    parser.add_argument("--bccd", type=Path, required=True, help="folder of the blood cells' data set")
    parser.add_argument("--weights", type=Path, help="the tiny detector's FP32 checkpoint")
    parser.add_argument("--teacher-weights", type=Path, help=f"that of {TEACHER}, trained on the same labels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one to five of them")
    parser.add_argument("--smallest", action="store_true", help="one seed, few steps")
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, e.g. compression.steps=1000")
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.smallest:
        options.seeds, options.set = [0], [*SMALLEST, *options.set]
    data = ["experiment=bccd", f"data.root={options.bccd.resolve()}", *options.set]
    models = {"tiny": (options.weights, []), "teacher": (options.teacher_weights, [f"model={TEACHER}", SIZE])}
    weights: dict[str, Path] = {}
    for name, (given, more) in models.items():
        weights[name] = given.resolve() if given else options.folder / f"{name}.pdparams"
        if not weights[name].is_file():
            start = [] if name == "tiny" else ["model.weights=null"]
            detpress(options.folder, "finetune", *data, *more, *start, f"out={weights[name]}", "tracking=none")
    fixed = ["finetune.enabled=false"]
    large = [*data, f"model={TEACHER}", SIZE, *fixed, f"model.weights={weights['teacher']}", "compression=none"]
    detpress(options.folder, "compress", *large, *QUICK)
    score = report(options.folder)["fp32"]["map"]
    own, taught = [], []
    for seed in options.seeds:
        base = [*data, *fixed, f"model.weights={weights['tiny']}", "compression.loss=features", f"seed={seed}"]
        larger = [f"compression.teacher={TEACHER}", f"compression.teacher_weights={weights['teacher']}"]
        own.append(compressed(options.folder, base))
        taught.append(compressed(options.folder, [*base, *larger]))
        print(f"seed {seed}: INT8 - FP32 {own[-1]['value']:+.2f} ({own[-1]['low']:+.2f} to {own[-1]['high']:+.2f}), "
              f"with {TEACHER} {taught[-1]['value']:+.2f} ({taught[-1]['low']:+.2f} to {taught[-1]['high']:+.2f})",
              flush=True)  # fmt: skip
    print(json.dumps(result(own, taught, score)))


if __name__ == "__main__":
    main()
