"""``compression=auto`` beside the full recipe and ``ptq``: ``make bench-auto``, or ``python -m tests.benchmarks.auto``.

For each data set and seed three runs of `detpress compress`, each in a store of its own, so that each pays for all
that it needs: ``auto`` with ``compression.max_drop``, the full recipe (``qat_distill``, 5000 steps) and ``ptq``. Then
``auto`` on the demo's checkpoint with a channel planted that is constant, larger than all others and read by nobody:
FP32 does not see it, a range for the whole tensor has to hold it. It prints a line a run, and last one JSON object:

- ``holds``: whether every ``auto`` holds the limit by the upper bound on the images that it was judged on; ``drops``:
  the bounds there, and the drop on the validation set.
- ``time_over_full``: largest ratio of ``auto``'s time to the full recipe's; null where that was left out. The full
  recipe is stopped when it has taken ``STOPPED`` times as long as ``auto``, which is all that the ratio has to say;
  ``full_stopped``: how often, where the ratio is smaller still. ``--whole`` lets it end.
- ``time_over_ptq``: largest ratio to ``ptq``'s time, where ``ptq`` holds by the bound on the validation set.
- ``escalated_holds``: whether the planted checkpoint took more than ranges, and holds.

Of shapes 1000 are drawn for training and 400 for validation, so that intervals are narrower than the limit: judged on
40 images, a drop of 0.5 points takes some 750 to be told.

``ARGS="--bccd FOLDER"`` adds the blood cells; ``--no-full --seeds 0`` takes minutes and says all but the ratio to the
full recipe; ``--smallest`` is one seed of few images, to see that it runs: its figures say nothing of the product.
"""

from __future__ import annotations

import argparse
import json
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np

from stages.outside.pickled_arrays import loads
from tests.benchmarks.seeds import QUICK, detpress, experiments, last_report
from tests.conftest import ROOT

DEMO = ROOT / "artifacts" / "demo" / "ppyoloe_tiny_shapes.pdparams"
OUTLIER = 300.0
"""Of the planted channel; all others of that tensor stay below 20."""
PLANTED, READER = "backbone.stem.conv1", "backbone.stem.conv2"
FULL = ("compression=qat_distill", "compression.steps=5000", "compression.eval_every=500")
AUTO = ("compression=auto", "compression.steps=5000", "compression.eval_every=250")
SHAPES = ("data.shapes.train=1000", "data.shapes.val=400")
STOPPED = 4.2
JUDGED = "compression.judge_images=500"
SMALLEST = ("data.shapes.train=40", "data.shapes.val=16", "compression.images=20", "compression.calibration_images=4")


def plant(source: Path, out: Path) -> int:
    """Write the checkpoint with a constant outlier in the channel that is read least; returns which one.

    Its batch normalization gives ``OUTLIER`` whatever comes in, and the weights that read it are zero.
    """
    state: dict[str, Any] = {name: np.array(value) for name, value in loads(source.read_bytes()).items()
                             if isinstance(value, np.ndarray)}  # fmt: skip
    read = np.abs(state[f"{READER}.conv.weight"]).sum(axis=(0, 2, 3))
    channel = int(np.argmin(read * np.abs(state[f"{PLANTED}.bn.weight"])))
    state[f"{PLANTED}.bn.weight"][channel] = 0.0
    state[f"{PLANTED}.bn.bias"][channel] = OUTLIER
    state[f"{READER}.conv.weight"][:, channel] = 0.0
    out.write_bytes(pickle.dumps(state, protocol=4))
    return channel


def run(folder: Path, *arguments: str, at_most: float | None = None) -> dict[str, Any]:
    """One run in a store of its own: its seconds, INT8's row and the path of the search; of one that was stopped, only
    the seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "measured.json"
    if kept.is_file():  # of an interrupted benchmark
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    started = time.perf_counter()
    ended = detpress(folder, "compress", *arguments, *QUICK, at_most=at_most)
    seconds = time.perf_counter() - started
    if ended:
        report = last_report(folder)
        row = next(row for row in report["rows"] if row["precision"] == "int8")
        found = {"seconds": seconds, "difference": row["difference"]["map"], "search": report.get("search")}
    else:
        found = {"seconds": seconds, "stopped": True}
    kept.write_text(json.dumps(found))
    return found


def bound(search: dict[str, Any]) -> tuple[float, float]:
    """(drop, its upper bound) of what a search chose."""
    chosen = next(step for step in search["path"] if step["name"] == search["chosen"])
    return chosen["drop"], chosen["high"]


def result(runs: list[dict[str, Any]], planted: dict[str, Any] | None, limit: float) -> dict[str, Any]:
    """The last line, of ``runs`` (data, seed, auto, full or null, ptq) and the run on the planted checkpoint."""
    with_full = [one["auto"]["seconds"] / one["full"]["seconds"] for one in runs if one["full"]]
    with_ptq = [
        one["auto"]["seconds"] / one["ptq"]["seconds"] for one in runs if -one["ptq"]["difference"]["low"] <= limit
    ]
    drops = []
    for one in runs:
        drop, high = bound(one["auto"]["search"])
        own = {"data": one["data"], "seed": one["seed"], "drop": round(drop, 3), "high": round(high, 3)}
        drops.append({**own, "validation": round(-one["auto"]["difference"]["value"], 3)})
    escalated = None
    if planted is not None:
        search = planted["search"]
        escalated = bool(search["met"] and any(step["kind"] != "ranges" for step in search["path"]))
    return {
        "holds": bool(runs) and all(one["auto"]["search"]["met"] for one in runs),
        "time_over_full": round(max(with_full), 3) if with_full else None,
        "full_stopped": sum(bool(one["full"] and one["full"].get("stopped")) for one in runs),
        "time_over_ptq": round(max(with_ptq), 3) if with_ptq else None,
        "escalated_holds": escalated,
        "max_drop": limit,
        "drops": drops,
    }


def sized(data: str, experiment: list[str]) -> list[str]:
    """What selects a data set, with the number of shapes; what ``--set`` gives comes behind it and wins."""
    return [experiment[0], *SHAPES, *experiment[1:]] if data == "shapes" else experiment


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("artifacts/bench-auto"), help="where the runs are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--max-drop", type=float, default=0.5)
    parser.add_argument("--bccd", type=Path, help="folder of the blood cells' data set")
    parser.add_argument("--weights", type=Path, help="the blood cells' FP32 checkpoint")
    parser.add_argument("--no-shapes", action="store_true", help="leave the demo out")
    parser.add_argument("--no-full", action="store_true", help="leave the full recipe out")
    parser.add_argument("--whole", action="store_true", help="let the full recipe end, which takes hours")
    parser.add_argument("--smallest", action="store_true", help="one seed, few images, short steps")
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, e.g. compression.time_budget=30m")
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    options.folder.mkdir(parents=True, exist_ok=True)
    full, auto = [*FULL], [*AUTO, JUDGED, f"compression.max_drop={options.max_drop}"]
    if options.smallest:
        options.seeds, options.set = [0], [*SMALLEST, *options.set]
        full += ["compression.steps=8", "compression.eval_every=4"]
        auto += ["compression.steps=8", "compression.eval_every=4", "compression.round_steps=4"]
    runs = []
    for data, experiment in experiments(options).items():
        for seed in options.seeds:
            folder, own = options.folder / f"{data}-{seed}", [*sized(data, experiment), f"seed={seed}"]
            one: dict[str, Any] = {"data": data, "seed": seed, "auto": run(folder / "auto", *own, *auto), "full": None}
            one["ptq"] = run(folder / "ptq", *own, "compression=ptq")
            if not options.no_full:
                at_most = None if options.whole else STOPPED * one["auto"]["seconds"]
                one["full"] = run(folder / "full", *own, *full, at_most=at_most)
            taken = {
                name: f"{one[name]['seconds']:.0f} s" + (" (stopped)" if one[name].get("stopped") else "")
                for name in ("auto", "full", "ptq")
                if one[name]
            }
            print(f"{data} {seed}: {taken}; {one['auto']['search']['outcome']}", flush=True)
            runs.append(one)
    planted: dict[str, Any] | None = None
    if not options.no_shapes:
        weights = options.folder / "planted.pdparams"
        plant(DEMO, weights)
        own = sized("shapes", ["experiment=demo", f"model.weights={weights}", *options.set])
        planted = run(options.folder / "planted" / "auto", *own, *auto)
        print(f"planted: {planted['search']['outcome']}", flush=True)
    print(json.dumps(result(runs, planted, options.max_drop)))


if __name__ == "__main__":
    main()
