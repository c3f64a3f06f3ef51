"""A search over configs beside the grid that it searches: ``make bench-search``.

The grid has 36 configs of `compression=ptq` on drawn shapes: 4 algorithms for the ranges, 3 numbers of images for
them, 3 choices of convolutions that stay in float. All are measured first, by a plain sweep; then
`hydra/sweeper=optuna` gets 14 trials, once per seed of its sampler, on the same store, so that what it tries is found
there. It prints a line a search, and last one JSON object:

- ``as_good``: whether every search found both of what a user takes from the grid: a drop within ``MARGIN`` points of
  the smallest, and the best of the other goal, within ``SHARE``, among the configs that hold ``--max-drop``;
- ``worst_drop``: how far the smallest drop of a search lies above the grid's, points, at most; ``worst_ratio``: how
  far its best other goal lies behind, as a ratio;
- ``trials``, ``grid``: how many configs were tried, and how many there are.

The goals are the size of the engine and the drop of mAP, which other load on the machine does not change; on a quiet
one ``ARGS="--goals speedup drop"``. ``--folder`` keeps the store: an interrupted benchmark goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pipelines.runs.trial import COMPLETE, GOALS, Asked, measure
from tests.benchmarks.seeds import QUICK, detpress

TRIALS = 14
MARGIN, SHARE = 0.1, 0.02
HEADS = ",".join(f"conv2d_{i}.w_0" for i in range(88, 94))
AXES = {
    "compression.ptq_algo": ("avg", "hist", "KL", "mse"),
    "compression.calibration_images": ("4", "16", "64"),
    "compression.skip_tensor_list": ("[]", "[conv2d_0.w_0]", f"[{HEADS}]"),
}
"""Option -> its values; of the last one, none, the first convolution and those that predict."""
FIXED = ("experiment=demo", "compression=ptq", "agreement=none", "run.reuse_latency=true", *QUICK)

Found = dict[str, float]
"""Goal -> value of one config."""


def space(form: str) -> list[str]:
    """The axes as overrides; ``form``: ``{}`` for a plain sweep, ``choice({})`` for a search."""
    return [f"{name}={form.format(','.join(values))}" for name, values in AXES.items()]


def measured(folder: Path, goals: list[str]) -> dict[tuple[str, ...], Found]:
    """What the runs in a folder measured, by their config."""
    found = {}
    for run in sorted((folder / "runs").glob("2*")):
        if not (run / "report.json").is_file():
            continue
        own = yaml.safe_load((run / "config.yaml").read_text())["compression"]
        config = tuple(str(own[name.partition(".")[2]]) for name in AXES)
        told = measure(run, Asked(goals))
        if told.state == COMPLETE:
            found[config] = told.values
    return found


def searched(folder: Path) -> list[Found]:
    """What a search measured."""
    trials = json.loads((folder / "search.json").read_text())["trials"]
    return [one["values"] for one in trials if one["state"] == COMPLETE]


def taken(configs: Sequence[Found], goal: str, max_drop: float) -> tuple[float, float]:
    """(smallest drop, best of the other goal among the configs that hold the limit), of what is less is better."""
    sign = 1.0 if GOALS[goal].least else -1.0
    holding = [sign * config[goal] for config in configs if config["drop"] <= max_drop]
    return min(config["drop"] for config in configs), min(holding, default=float("inf"))


def result(grid: Sequence[Found], searches: Sequence[Sequence[Found]], goal: str, max_drop: float) -> dict[str, Any]:
    """The last line."""
    drop, other = taken(grid, goal, max_drop)
    found = [taken(configs, goal, max_drop) for configs in searches]
    behind = [(own - other) / abs(other) for _, own in found]
    good = [own - drop <= MARGIN and ratio <= SHARE for (own, _), ratio in zip(found, behind, strict=True)]
    return {
        "as_good": all(good),
        "good": good,
        "worst_drop": round(max(own - drop for own, _ in found), 3),
        "worst_ratio": round(max(behind), 4),
        "trials": [len(configs) for configs in searches],
        "grid": len(grid),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("artifacts/bench-search"), help="where the runs are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the sampler, a search each")
    parser.add_argument("--pictures", type=int, default=7, help="seed of the drawn shapes")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--goals", nargs=2, default=["size", "drop"], help="the second is drop")
    parser.add_argument("--max-drop", type=float, default=0.5)
    parser.add_argument("--set", nargs="*", default=[], help="more overrides")
    options = parser.parse_args()
    folder = options.folder.resolve() / f"pictures-{options.pictures}"
    folder.mkdir(parents=True, exist_ok=True)
    goals, fixed = list(options.goals), [*FIXED, f"data.shapes.seed={options.pictures}", *options.set]
    if len(measured(folder, goals)) < 36:
        detpress(folder, "compress", "-m", *fixed, *space("{}"))
    grid = list(measured(folder, goals).values())
    print(f"grid: {len(grid)} configs, {taken(grid, goals[0], options.max_drop)}", flush=True)
    searches = []
    for seed in options.seeds:
        own = folder / f"search-{'-'.join(goals)}-{seed}"
        sweeper = [f"n_trials={options.trials}", f"seed={seed}", f"goals=[{','.join(goals)}]"]
        detpress(folder, "compress", "-m", "hydra/sweeper=optuna", f"hydra.sweep.dir={own}",
                 *(f"hydra.sweeper.{text}" for text in sweeper), *fixed, *space("choice({})"))  # fmt: skip
        searches.append(searched(own))
        print(f"seed {seed}: {len(searches[-1])} trials, {taken(searches[-1], goals[0], options.max_drop)}", flush=True)
    print(json.dumps(result(grid, searches, goals[0], options.max_drop)))


if __name__ == "__main__":
    main()
