"""Training on a CPU: ``make bench-finetune``, or ``python -m tests.benchmarks.finetune``. The last line is JSON.

Two trainings of the same weights on the same batches of drawn pictures take turns of a few steps, each in a process of
its own on every core: one on Paddle's own convolutions, as ``finetune`` trained before, one on oneDNN's, as it trains
now. (In one process each would find the memory that the other has just used.)

- ``ratio``: images per second, oneDNN / Paddle, the median of the turns; ``ratio_from``, ``ratio_to``: its quartiles.
- ``processor_ratio``: the same of processor time, which others on the machine move less.
- ``images_per_s``: of each, the median of the turns. Images are read and augmented before.
- ``start_s``: seconds in which oneDNN's programs are made. ``memory_mb``: of each, at most.
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
FOREIGN = 0.1


def inside(request: dict[str, Any]) -> None:
    """Train on one road: for each line of standard input a turn, and a line of JSON for what it took."""
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
        drawn / "train",
        coco,
        Preprocessor(Sidecar.from_model(options)),
        Augmentation(settings.flip, settings.color_jitter, settings.crop),
        batch=settings.batch,
        seed=0,
    )
    began = time.perf_counter()
    one = trainer(request["road"], options, settings, len(coco.labels), request["threads"])
    told: dict[str, Any] = {"start_s": time.perf_counter() - began}
    for _ in sys.stdin:
        batches = [source.batch(one.step + i) for i in range(request["steps"])]
        wall, processor = time.perf_counter(), time.process_time()
        told["losses"] = [one.train(batch)["loss"] for batch in batches]
        told["wall"], told["processor"] = time.perf_counter() - wall, time.process_time() - processor
        told["memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
        print(json.dumps(told), flush=True)


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


class Training:
    """One training in a process of its own, which waits between two turns."""

    def __init__(self, road: str, request: dict[str, Any], threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
        own = json.dumps({**request, "road": road, "threads": threads})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.finetune", "--inside", own],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
        )  # fmt: skip
        self.losses: list[float] = []
        self.last: dict[str, Any] = {}

    def turn(self) -> dict[str, Any]:
        """The next steps: seconds, processor seconds, losses."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the training ended with {self._process.wait()}; its error is above")
        self.last = json.loads(line)
        self.losses += self.last["losses"]
        return self.last

    def end(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)


def difference(found: list[float], expected: list[float]) -> float:
    """The mean of the relative differences."""
    return statistics.fmean(abs(a - b) / b for a, b in zip(found, expected, strict=True))


def measured(request: dict[str, Any], turns: int, threads: int) -> dict[str, Any]:
    """The figures of one model (see above)."""
    roads = {road: Training(road, request, threads) for road in (PADDLE, ONEDNN)}
    one_thread = Training(PADDLE, request, 1)
    walls: dict[str, list[float]] = {road: [] for road in roads}
    processors: dict[str, list[float]] = {road: [] for road in roads}
    for number in range(1 + turns):
        one_thread.turn()
        for road in list(roads)[:: 1 if number % 2 else -1]:
            took = roads[road].turn()
            if number:  # in the first, kernels are chosen and memory is taken
                walls[road].append(took["wall"])
                processors[road].append(took["processor"])
    for training in (*roads.values(), one_thread):
        training.end()
    slow, fast = roads[PADDLE], roads[ONEDNN]
    images = request["batch"] * request["steps"]
    lower, middle, upper = statistics.quantiles(ratios(walls), n=4)
    result = {
        "ratio": middle,
        "ratio_from": lower,
        "ratio_to": upper,
        "processor_ratio": statistics.median(ratios(processors)),
        "images_per_s": {road: round(images / statistics.median(walls[road]), 2) for road in roads},
        "start_s": fast.last["start_s"],
        "first_loss": difference(fast.losses[:1], slow.losses[:1]),
        "loss": difference(fast.losses, slow.losses),
        "noise": difference(one_thread.losses, slow.losses),
        "memory_mb": {road: training.last["memory_mb"] for road, training in roads.items()},
    }
    return {name: float(f"{v:.4g}") if isinstance(v, float) else v for name, v in result.items()}


def ratios(seconds: dict[str, list[float]]) -> list[float]:
    """Paddle / oneDNN, of each turn."""
    return [a / b for a, b in zip(seconds[PADDLE], seconds[ONEDNN], strict=True)]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Images per second of a training, on Paddle's convolutions and oneDNN's"
    )
    parser.add_argument("--models", nargs="+", default=["ppyoloe_tiny", "ppyoloe_s"])
    parser.add_argument("--size", type=int, default=320, help="height and width of an image, in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3, help="of a turn")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.inside:
        inside(json.loads(given.inside))
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
            request = {
                "model": merge(compose(model), {"input_size": size}),
                "drawn": str(drawn.root),
                "batch": given.batch,
                "steps": given.steps,
            }
            models[model] = measured(request, given.turns, cores)
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
