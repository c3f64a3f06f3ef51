"""Training on a CPU: ``make bench-finetune``, or ``python -m tests.benchmarks.finetune``. The last line is JSON.

Two trainings of the same weights on the same batches of drawn pictures take turns of a few steps, in one process on
every core: one on Paddle's own convolutions, as ``finetune`` trained before, one on oneDNN's, as it trains now.

- ``ratio``: images per second, oneDNN / Paddle, the median of the turns; ``ratio_from``, ``ratio_to``: its quartiles.
- ``processor_ratio``: the same of processor time, which others on the machine move less.
- ``images_per_s``: of each, the median of the turns. Images are read and augmented before.
- ``start_s``: seconds in which oneDNN's programs are made. ``memory_mb``: at most, of a process that trains one way.
- ``first_loss``: relative difference of the losses in the first step, before anything was learned; ``loss``: the mean
  of it over all steps. ``noise``: the latter between Paddle's own convolutions on one thread and on all: sums in
  another order are another training after some steps, so ``loss`` is to be read beside it.
- ``disturbed``: others took more than a tenth of the machine meanwhile.

``--models ppyoloe_tiny ppyoloe_s`` are measured; the last line is of the first, with each in ``models``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from stages.data.draw import Draw
from stages.detection.coco import read_coco
from stages.options.data import ShapesOptions
from stages.options.finetune import FinetuneSettings
from stages.options.model import ModelOptions
from stages.processes.cores import allowed_cores
from tests.benchmarks.scale import machine_busy
from tests.conftest import ROOT
from tests.fakes import FakeContext
from tests.stages.paddle.models.test_models import compose, merge

PADDLE, ONEDNN = "paddle", "onednn"
WARM = 2
"""Steps before the first turn: kernels are chosen in them, memory is taken."""
FOREIGN = 0.1


def inside(request: dict[str, Any]) -> dict[str, Any]:
    """Train on each of the ``roads``, in turns: seconds and processor seconds of each turn, losses of each step."""
    import stages.paddle  # noqa: F401, I001  (the door comes before what it loads)

    from stages.detection.augment import Augmentation
    from stages.detection.loader import TrainingImages
    from stages.detection.preprocess import Preprocessor
    from stages.detection.sidecar import Sidecar

    options = ModelOptions(**request["model"])
    settings = FinetuneSettings(batch=request["batch"])
    drawn = Path(request["drawn"])
    coco = read_coco(drawn / "train.json")
    source = TrainingImages(
        drawn / "train", coco, Preprocessor(Sidecar.from_model(options)),
        Augmentation(settings.flip, settings.color_jitter, settings.crop), batch=settings.batch, seed=0,
    )  # fmt: skip
    turns, steps = request["turns"], request["steps"]
    batches = [source.batch(step) for step in range(WARM + turns * steps)]
    found: dict[str, Any] = {road: {"wall": [], "processor": [], "losses": []} for road in request["roads"]}
    trainers: dict[str, Any] = {}
    for road in request["roads"]:
        began = time.perf_counter()
        trainers[road] = trainer(road, options, settings, len(coco.labels), request["threads"])
        found[road]["start_s"] = time.perf_counter() - began
        found[road]["losses"] += [trainers[road].train(batch)["loss"] for batch in batches[:WARM]]
    for turn in range(turns):
        part = batches[WARM + turn * steps : WARM + (turn + 1) * steps]
        for road in request["roads"][:: 1 if turn % 2 else -1]:
            wall, processor = time.perf_counter(), time.process_time()
            found[road]["losses"] += [trainers[road].train(batch)["loss"] for batch in part]
            found[road]["wall"].append(time.perf_counter() - wall)
            found[road]["processor"].append(time.process_time() - processor)
    found["memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
    return found


def trainer(road: str, options: ModelOptions, settings: FinetuneSettings, classes: int, threads: int) -> Any:
    from stages.paddle.models.models import build_detector
    from stages.paddle.models.onednn_training import OneDnnConvolutions, why_not
    from stages.paddle.models.training import FullPrecision, Trainer, fresh_start

    with fresh_start(0):
        layer = build_detector(options, classes)
        if road == PADDLE:
            return Trainer(layer, settings, settings.static_steps or 0, FullPrecision())
        if reason := why_not(layer):
            raise SystemExit(f"nothing to compare here: {reason}")
        arithmetic = OneDnnConvolutions(layer, (settings.batch, 3, *options.input_size), threads)
        return Trainer(layer, settings, settings.static_steps or 0, arithmetic)


def process(request: dict[str, Any]) -> dict[str, Any]:
    """``inside`` in a process of its own, with as many threads as it is to have."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(request["threads"]), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.finetune", "--inside"],
        input=json.dumps(request), capture_output=True, text=True, env=environment, cwd=ROOT, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"training ended with {done.returncode}:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def difference(found: list[float], expected: list[float]) -> float:
    """The mean of the relative differences."""
    return statistics.fmean(abs(a - b) / b for a, b in zip(found, expected, strict=True))


def measured(request: dict[str, Any]) -> dict[str, Any]:
    """The figures of one model (see above)."""
    both = process({**request, "roads": [PADDLE, ONEDNN]})
    slow, fast = both[PADDLE], both[ONEDNN]
    images = request["batch"] * request["steps"]
    ratios = [a / b for a, b in zip(slow["wall"], fast["wall"], strict=True)]
    lower, middle, upper = statistics.quantiles(ratios, n=4)
    result = {
        "ratio": middle, "ratio_from": lower, "ratio_to": upper,
        "processor_ratio": statistics.median(
            a / b for a, b in zip(slow["processor"], fast["processor"], strict=True)
        ),
        "images_per_s": {road: round(images / statistics.median(both[road]["wall"]), 2) for road in (PADDLE, ONEDNN)},
        "start_s": fast["start_s"],
        "first_loss": difference(fast["losses"][:1], slow["losses"][:1]),
        "loss": difference(fast["losses"], slow["losses"]),
    }  # fmt: skip
    # Fewer steps would not show where the curves go apart.
    one = process({**request, "roads": [PADDLE], "threads": 1})
    short = process({**request, "roads": [ONEDNN], "turns": 1})
    result["noise"] = difference(one[PADDLE]["losses"], slow["losses"])
    result["memory_mb"] = {PADDLE: one["memory_mb"], ONEDNN: short["memory_mb"]}
    return {name: float(f"{v:.4g}") if isinstance(v, float) else v for name, v in result.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Images per second of a training, on Paddle's convolutions and oneDNN's"
    )
    parser.add_argument("--models", nargs="+", default=["ppyoloe_tiny", "ppyoloe_s"])
    parser.add_argument("--size", type=int, default=320, help="height and width of an image, in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3, help="of a turn")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.inside:
        print(json.dumps(inside(json.load(sys.stdin))))
        return
    if given.turns < 2 or given.steps < 1:
        raise SystemExit("--turns: at least 2; --steps: at least 1")
    cores, models = allowed_cores(), dict[str, Any]()
    began, machine, own = time.perf_counter(), machine_busy(), children()
    with tempfile.TemporaryDirectory(prefix="bench-finetune-") as name:
        size = [given.size, given.size]
        drawn = Draw(ShapesOptions(train=48, unlabeled=1, val=1, size=size)).run(Draw.Inputs(), FakeContext(Path(name)))
        for model in given.models:
            print(f"{model} at {given.size}, batches of {given.batch}", file=sys.stderr)
            models[model] = measured({
                "model": merge(compose(model), {"input_size": size}), "drawn": str(drawn.root), "batch": given.batch,
                "turns": given.turns, "steps": given.steps, "threads": cores,
            })  # fmt: skip
            print(f"{model}: {json.dumps(models[model])}", flush=True)
    foreign = (machine_busy() - machine) - (children() - own)
    share = max(0.0, foreign) / ((time.perf_counter() - began) * (os.cpu_count() or 1))
    first = given.models[0]
    print(json.dumps({
        **models[first], "model": first, "size": given.size, "batch": given.batch, "cores": cores,
        "foreign_share": round(share, 2), "disturbed": share > FOREIGN, "models": models,
    }))  # fmt: skip


def children() -> float:
    """Seconds of processor time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
