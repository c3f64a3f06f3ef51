"""INT8 of a lighter model against plain INT8: ``make bench-less-work``, or ``python -m tests.benchmarks.less_work``.

For the blood cells with three seeds and shapes with one (``--seeds``, ``--shapes-seeds``) two runs of `detpress
compress`, which share a store: plain, and with ``compression.activation`` and ``compression.prune`` as the arguments
say. Their INT8 engines are then timed in turns, each in a process of its own. Beside them stands PP-YOLOE-l with drawn
weights, of which only the speed means something.
It prints a line for each, and last one JSON object:

- ``over_int8``: backend -> how many times faster than plain INT8, the mean over the runs; ``over_int8_cpu``: by
  processor time, which another load on the machine distorts less.
- ``drop``: backend -> mean of FP32's mAP less that of the lighter INT8 engine; ``plain_drop``: of the plain one.
- ``l_over_fp32``: backend -> how many times faster than FP32 the lighter PP-YOLOE-l is, with bounds of 95 %;
  ``l_over_int8``: than its plain INT8.
- ``runs``: the same of each run.

Of shapes 1000 are drawn for training and 400 for validation, as for ``bench-auto``: the demo's 100 are too few to learn
from and to tell half a point.

``ARGS="--bccd FOLDER"`` adds the blood cells; ``--smallest`` is one seed of few images and steps, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

from pipelines.execution import ids
from pipelines.store.local import Store
from stages.artifacts import Engine, ImageList
from tests.benchmarks import preparing, seeds
from tests.benchmarks.auto import SMALLEST, sized
from tests.benchmarks.backends import ratio, time_all
from tests.benchmarks.seeds import detpress, experiments, last_report, last_stages
from tests.conftest import ROOT

BACKENDS = ("onnxruntime", "openvino")
SHORT = (*seeds.SHORT, f"backend=[{','.join(BACKENDS)}]")
"""Engines are timed here, in turns, not by the runs."""


def lighter(options: argparse.Namespace, *, learns: bool = True) -> list[str]:
    """The overrides that make the model lighter."""
    asked = [] if options.activation == "none" else [f"compression.activation={options.activation}"]
    asked += [] if options.prune is None else [f"compression.prune={options.prune}"]
    return [*asked, f"compression.light_steps={options.steps if learns else 0}", *options.light]


def run(folder: Path, name: str, *arguments: str) -> dict[str, Any]:
    """One run: mAP of each engine, and the INT8 engines with the images that they may be timed on."""
    kept = folder / f"{name}.json"
    if kept.is_file():  # of an interrupted benchmark
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    detpress(folder, "compress", *arguments, *SHORT)
    rows = {(row["backend"], row["precision"]): row["map"] for row in last_report(folder)["rows"]}
    stages = last_stages(folder)
    found = {
        "map": {backend: {of: rows[backend, of] for of in ("fp32", "int8")} for backend in BACKENDS},
        "entries": {backend: stages[ids.build(backend, "int8")]["entry"] for backend in BACKENDS},
        "images": stages[ids.IMAGES]["entry"],
    }
    kept.write_text(json.dumps(found))
    return found


def compared(folder: Path, plain: dict[str, Any], light: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Backend -> the lighter engine's drop, the plain one's, and how many times faster it is."""
    store = Store(folder)
    engines = {
        f"{backend} {name}": store.load_as(one["entries"][backend], Engine)
        for name, one in (("plain", plain), ("light", light))
        for backend in BACKENDS
    }
    timings, _ = time_all(engines, paths(store.load_as(light["images"], ImageList)), options.rounds, options.runs)
    return {
        backend: {
            "drop": light["map"][backend]["fp32"] - light["map"][backend]["int8"],
            "plain_drop": plain["map"][backend]["fp32"] - plain["map"][backend]["int8"],
            "over_int8": ratio(timings[f"{backend} plain"], timings[f"{backend} light"]),
        }
        for backend in BACKENDS
    }


def speeds(model: str, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The same of a model with drawn weights: over FP32, and over plain INT8."""
    folder, engines = options.folder / model, dict[str, Engine]()
    more = "backend.openvino.variants=[fp32,int8]"
    for name, asked in (("plain", []), ("light", lighter(options, learns=False))):
        config = preparing.config_of(folder, model, options.images, more, "compression.batch=1", *asked)
        artifacts = preparing.made(folder, config, preparing.own_nodes(config))
        for backend in BACKENDS:
            for of in ("fp32", "int8") if name == "plain" else ("int8",):
                engine = artifacts[ids.build(backend, of)]
                assert isinstance(engine, Engine)
                engines[f"{backend} {name} {of}"] = engine
    timings, _ = time_all(engines, paths(preparing.images_of(artifacts)), options.rounds, options.runs)
    found: dict[str, dict[str, Any]] = {"over_fp32": {}, "over_int8": {}, "plain_over_fp32": {}}
    for backend in BACKENDS:
        plain, light = (timings[f"{backend} {name} int8"] for name in ("plain", "light"))
        base = timings[f"{backend} plain fp32"]
        found["over_fp32"][backend], found["over_int8"][backend] = ratio(base, light), ratio(plain, light)
        found["plain_over_fp32"][backend] = ratio(base, plain)
    return found


def paths(images: ImageList) -> list[str]:
    return [entry["path"] for entry in json.loads(images.path("images.json").read_text())]


def result(runs: list[dict[str, Any]], large: dict[str, dict[str, Any]] | None) -> dict[str, Any]:
    """The last line, of ``runs`` (data, seed, and by backend what `compared` gives) and PP-YOLOE-l's speeds."""

    def mean(of: list[float]) -> float | None:
        return round(statistics.mean(of), 3) if of else None

    found: dict[str, Any] = {}
    for name in ("drop", "plain_drop"):
        found[name] = {backend: mean([one[backend][name] for one in runs]) for backend in BACKENDS}
    for name, part in (("over_int8", "median"), ("over_int8_cpu", "cpu")):
        found[name] = {backend: mean([one[backend]["over_int8"][part] for one in runs]) for backend in BACKENDS}
    if large is not None:
        found |= {"l_over_fp32": large["over_fp32"], "l_over_int8": large["over_int8"]}
        found["l_plain_over_fp32"] = large["plain_over_fp32"]
    return {**found, "runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--folder", type=Path, default=Path("artifacts/bench-less-work"), help="where the runs are kept"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the blood cells")
    parser.add_argument("--shapes-seeds", type=int, nargs="+", default=[0], help="of the drawn shapes")
    parser.add_argument("--activation", default="relu", help="none: SiLU stays, and --prune alone makes it lighter")
    parser.add_argument("--prune", type=float, help="share of the channels that goes")
    parser.add_argument("--steps", type=int, default=2000, help="of the lighter model's distillation")
    parser.add_argument("--light", nargs="*", default=[], help="further overrides of the lighter run")
    parser.add_argument("--compression", default="ptq", help="how INT8 is made: ptq or qat_distill")
    parser.add_argument("--bccd", type=Path, help="folder of the blood cells' data set")
    parser.add_argument("--weights", type=Path, help="the blood cells' FP32 checkpoint")
    parser.add_argument("--no-shapes", action="store_true", help="leave the demo out")
    parser.add_argument("--large", default="ppyoloe_l", help="the model with drawn weights; none: leave it out")
    parser.add_argument("--images", type=int, default=4, help="that it is calibrated on")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--runs", type=int, default=5, help="of each round")
    parser.add_argument(
        "--smallest", action="store_true", help="one seed, shapes, few images and steps, no large model"
    )
    parser.add_argument("--set", nargs="*", default=[], help="further overrides of both runs")
    options = parser.parse_args()
    if options.activation == "none" and options.prune is None:
        parser.error("--activation none needs --prune, or nothing is lighter")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    options.folder = options.folder.resolve()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.smallest:
        options.steps, options.bccd, options.large = 4, None, "none"
        options.set = [*SMALLEST, "compression.eval_every=2", "compression.eval_images=2", *options.set]
    runs = []
    for data, experiment in experiments(options).items():
        for seed in options.shapes_seeds if data == "shapes" else options.seeds:
            folder, own = options.folder / f"{data}-{seed}", [*sized(data, experiment), f"seed={seed}"]
            folder.mkdir(parents=True, exist_ok=True)
            own.append(f"compression={options.compression}")
            plain = run(folder, "plain", *own)
            found = compared(folder, plain, run(folder, "light", *own, *lighter(options)), options)
            print(f"{data} {seed}: {json.dumps(found)}", flush=True)
            runs.append({"data": data, "seed": seed, **found})
    large = None if options.large == "none" else speeds(options.large, options)
    if large is not None:
        print(f"{options.large}: {json.dumps(large)}", flush=True)
    print(json.dumps(result(runs, large)))


if __name__ == "__main__":
    main()
