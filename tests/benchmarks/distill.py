"""Our distillation beside PaddleSlim's AutoCompression (ACT): ``make bench-distill``.

One after the other on the same FP32 model (random weights), the same images, batch, loss and quantizers; each in a
process of its own, ours with every core, ACT as it comes (it sets one thread itself). No image is seen twice, so that
no cache helps. The last line is one JSON object:

- ``prepare_s``: seconds in which our graphs are made; ``prepare_ratio``: ACT's seconds / ours.
- ``start_s``, ``start_ratio``: the same until the first step, which in ours has the initial ranges of the activations
  before it (on ``calibration_images``; ACT starts all of them at 1).
- ``step_ratio``: images per second, ours / ACT's, over the steps after the first ``WARM``.

``ARGS="model=ppyoloe_tiny"`` is a quick one; ``steps``, ``batch`` and ``plain=false`` (ours only) are the other keys.
PP-YOLOE-l takes 12 minutes for ACT's preparation alone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from stages.artifacts import ExportedModel, ImageList
from stages.codec import artifact_from_json, to_json
from stages.options.compression import CompressionSettings, DistillOptions
from stages.options.export import ExportOptions
from stages.options.model import ModelOptions
from tests.benchmarks.detector import photographs
from tests.conftest import ROOT
from tests.stages.paddle.models.test_models import compose

WARM = 2
LABELS = 80


def model_options(name: str) -> ModelOptions:
    """A model of ``conf/model`` with random weights for 80 classes."""
    fields = {**compose(name), "random_weights": True, "labels": [f"class {i}" for i in range(LABELS)]}
    return ModelOptions(**fields)


def stage(folder: Path, name: str, options: object, inputs: dict[str, Any], threads: int) -> list[tuple[float, dict]]:
    """Run one stage in a worker; its events with the seconds at which they came."""
    for part in ("out", "work"):
        (folder / part).mkdir(parents=True)
    request = {"stage": name, "options": to_json(options), "inputs": to_json(inputs), "out": str(folder / "out"),
               "work": str(folder / "work"), "seed": 0, "threads": threads}  # fmt: skip
    (folder / "request.json").write_text(json.dumps(request))
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.processes.worker", str(folder / "request.json")],
            stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
        )  # fmt: skip
        assert process.stdout is not None
        events = [(time.perf_counter(), json.loads(line)) for line in process.stdout]
    if process.wait() or events[-1][1]["event"] != "result":
        raise SystemExit(
            f"{name} failed: {events[-1][1] if events else ''}\n{(folder / 'log.txt').read_text()[-2000:]}"
        )
    return events


def ours(folder: Path, model: ExportedModel, images: ImageList, options: DistillOptions, cores: int) -> dict[str, Any]:
    inputs = {"model": model, "images": images}
    started = time.perf_counter()
    events = stage(folder, "distill", options, inputs, cores)
    values = {e["name"]: e["value"] for _, e in events if e["event"] == "metric"}
    at = [moment for moment, e in events if e["event"] == "progress"]
    first_step = (at[1] - at[0]) if len(at) > 1 else 0.0
    return {
        "prepare_s": values["prepare_s"],
        "start_s": at[0] - started - first_step,
        "images_per_s": speed(at[WARM - 1 :], options.batch),
    }


def plain(folder: Path, model: ExportedModel, images: ImageList, options: DistillOptions) -> dict[str, Any]:
    paths = [entry["path"] for entry in json.loads(images.path("images.json").read_text())]
    folder.mkdir()
    request = {"model": str(model.root), "scratch": str(folder), "images": paths, "batch": options.batch,
               "steps": options.steps, "recipe": to_json(options)}  # fmt: skip
    (folder / "request.json").write_text(json.dumps(request))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("OMP_NUM_THREADS", None)  # as it comes: Paddle sets it to one
    command = [sys.executable, "-m", "tests.benchmarks.plain_act", str(folder / "request.json")]
    with (folder / "log.txt").open("w") as log:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"ACT ended with {done.returncode}: {(folder / 'log.txt').read_text()[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "prepare_s": found["prepare_s"],
        "start_s": found["prepare_s"],
        "images_per_s": speed(found["times"][WARM:], options.batch),
    }


def speed(moments: list[float], batch: int) -> float:
    """Images per second between the first and the last of these moments, which are a step apart."""
    return batch * (len(moments) - 1) / (moments[-1] - moments[0])


def main(arguments: list[str]) -> None:
    given = {"model": "ppyoloe_l", "steps": "8", "batch": "1", "plain": "true"}
    for text in arguments:
        key, _, value = text.partition("=")
        if key not in given or not value:
            raise SystemExit(f"{text!r}: write one of {', '.join(given)} as key=value")
        given[key] = value
    steps, batch = int(given["steps"]), int(given["batch"])
    if steps < WARM + 2:
        raise SystemExit(f"steps={steps}: it takes at least {WARM + 2}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    model = model_options(given["model"])
    recipe = CompressionSettings(
        steps=steps,
        batch=batch,
        log_every=1,
        checkpoint_every=10 * steps,
        eval_every=None,  # ACT scores nothing
    )
    options = DistillOptions(**dataclasses.asdict(recipe), model=model)
    with tempfile.TemporaryDirectory(prefix="bench-distill-") as scratch:
        folder = Path(scratch)
        images = photographs(folder / "images", steps * batch)
        export = ExportOptions(model=model, batch=batch)
        events = stage(folder / "export", "export", export, {"model": None, "images": images}, cores)
        exported = artifact_from_json(events[-1][1]["artifact"])
        assert isinstance(exported, ExportedModel)
        mine = ours(folder / "ours", exported, images, options, cores)
        print(f"ours: {json.dumps(mine)}", flush=True)
        result = {"prepare_s": mine["prepare_s"], "start_s": mine["start_s"], "images_per_s": mine["images_per_s"]}
        if given["plain"] != "false":
            other = plain(folder / "plain", exported, images, options)
            print(f"ACT:  {json.dumps(other)}", flush=True)
            result["prepare_ratio"] = other["prepare_s"] / mine["prepare_s"]
            result["start_ratio"] = other["start_s"] / mine["start_s"]
            result["step_ratio"] = mine["images_per_s"] / other["images_per_s"]
    print(json.dumps({**{k: round(v, 3) for k, v in result.items()}, **given, "cores": cores}))


if __name__ == "__main__":
    main(sys.argv[1:])
