"""A search over configs beside the grid that it searches: ``make bench-search``.

The grid has 36 configs of `compression=ptq` on drawn shapes: 4 algorithms for the ranges, 3 numbers of images for
them, 3 choices of convolutions that stay in float. All are measured first, by a plain sweep; then
`hydra/sweeper=optuna` gets 14 trials, once per seed of its sampler, on the same store, so that what it tries is found
there. It prints a line a search, and last one JSON object:

- ``as_good``: whether every search found both of what a user takes from the grid: the smallest drop, to ``MARGIN``
  points or as far as the images can tell, and the best of the other goal, within ``SHARE``, among the configs that hold
  ``--max-drop``;
- ``apart``: of each search, the interval (95 %, the same draws of images for both) by which its smallest drop is above
  the grid's: where it holds zero, the two cannot be told apart;
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from pipelines.runs.trial import COMPLETE, GOALS, Asked, measure
from pipelines.store.local import Store
from stages.artifacts import Comparison
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


@dataclass(frozen=True)
class Config:
    """What was measured of one."""

    values: Found
    draws: npt.NDArray[np.float64]
    """INT8 - FP32 in points of mAP, over draws of the images that are the same for all configs."""


def space(form: str) -> list[str]:
    """The axes as overrides; ``form``: ``{}`` for a plain sweep, ``choice({})`` for a search."""
    return [f"{name}={form.format(','.join(values))}" for name, values in AXES.items()]


def draws_of(run: Path) -> npt.NDArray[np.float64]:
    """Of a run's INT8 engine."""
    stages = json.loads((run / "run.json").read_text())["stages"]
    (entry,) = (one["entry"] for name, one in stages.items() if name.startswith("compare."))
    compared = Store(run.parent.parent).load_as(entry, Comparison)
    drawn: npt.NDArray[np.float64] = np.load(compared.path("draws.npz"))["map"]
    return drawn


def measured(folder: Path, goals: list[str]) -> dict[tuple[str, ...], Config]:
    """What the runs in a folder measured, by their config."""
    found = {}
    for run in sorted((folder / "runs").glob("2*")):
        if not (run / "report.json").is_file():
            continue
        own = yaml.safe_load((run / "config.yaml").read_text())["compression"]
        config = tuple(str(own[name.partition(".")[2]]) for name in AXES)
        told = measure(run, Asked(goals))
        if told.state == COMPLETE:
            found[config] = Config(told.values, draws_of(run))
    return found


def searched(folder: Path, runs: Path) -> list[Config]:
    """What a search measured; ``runs``: where its trials are."""
    trials = json.loads((folder / "search.json").read_text())["trials"]
    return [Config(one["values"], draws_of(runs / one["run"])) for one in trials if one["state"] == COMPLETE]


def apart(own: Sequence[Config], grid: Sequence[Config]) -> tuple[float, float]:
    """By how much the smallest drop of ``own`` is above the grid's: an interval of 95 %."""
    ours, best = (min(configs, key=lambda config: config.values["drop"]) for configs in (own, grid))
    low, high = np.quantile(best.draws - ours.draws, [0.025, 0.975])
    return float(low), float(high)


def taken(configs: Sequence[Config], goal: str, max_drop: float) -> tuple[float, float]:
    """(smallest drop, best of the other goal among the configs that hold the limit), of what is less is better."""
    sign = 1.0 if GOALS[goal].least else -1.0
    values = [config.values for config in configs]
    holding = [sign * one[goal] for one in values if one["drop"] <= max_drop]
    return min(one["drop"] for one in values), min(holding, default=float("inf"))


def result(grid: Sequence[Config], searches: Sequence[Sequence[Config]], goal: str, max_drop: float) -> dict[str, Any]:
    """The last line."""
    drop, other = taken(grid, goal, max_drop)
    found = [taken(configs, goal, max_drop) for configs in searches]
    behind = [(own - other) / abs(other) for _, own in found]
    above = [apart(configs, grid) for configs in searches]
    good = [
        (own - drop <= MARGIN or low <= 0.0) and ratio <= SHARE
        for (own, _), ratio, (low, _) in zip(found, behind, above, strict=True)
    ]
    return {
        "as_good": all(good),
        "good": good,
        "apart": [[round(low, 3), round(high, 3)] for low, high in above],
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
        searches.append(searched(own, folder / "runs"))
        print(f"seed {seed}: {len(searches[-1])} trials, {taken(searches[-1], goals[0], options.max_drop)}", flush=True)
    print(json.dumps(result(grid, searches, goals[0], options.max_drop)))


if __name__ == "__main__":
    main()
