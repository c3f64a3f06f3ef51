"""Thresholds that move with the quantization: ``make bench-thresholds``, or ``python -m tests.benchmarks.thresholds``.

One run of `detpress compress` on the blood cells (``--bccd FOLDER``) with ``thresholds.score``. Its INT8 engines
detect on the training images, by which thresholds move, and on the validation images, which only show what came of it;
once with their scores as they are, and once with scores that are shrunk on purpose (``--shrink``). Rounding moves a
detection over a threshold by chance, so the validation images are copied ``--copies`` times with noise of at most one
grey level, as for ``bench-rounding``. It prints a line a copy, and last one JSON object:

- ``within``: whether, with shrunk scores, recall from the moved thresholds on is less than FP32's by at most ``LIMIT``
  points on every backend, the mean over the copies, and the unmoved thresholds lose more;
- ``plain`` and ``shrunk``, by backend: ``moved``, ``unmoved``: FP32's recall less the engine's in points, mean over
  the copies with its 95 % interval (Student's t); ``precision``: FP32's precision less the engine's, moved;
  ``at_precision``: FP32's recall less the engine's where the engine has FP32's precision on the validation images
  themselves, class by class: what no choice of thresholds can give back, because it is the engine's;
- ``run``: what the run itself says of its engines: recall on the validation images of FP32, unmoved and moved.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.execution import ids
from pipelines.store.local import Store
from stages.accuracy.detections import Picture
from stages.artifacts import Engine, LabeledSet
from stages.detection.bootstrap import draw_weights
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.options.accuracy import NmsOptions
from stages.processes.cores import allowed_cores
from stages.report.schema_thresholds import Operating
from stages.thresholds.choosing import Seen, choose
from stages.thresholds.curves import operating_point
from stages.thresholds.images import Pictures, detect, labeled_pictures, seen
from stages.thresholds.moving import PRECISION, moved
from tests.benchmarks.rounding import noisy
from tests.benchmarks.seeds import SHORT, detpress, last_report, last_stages, told
from tests.fakes import FakeContext

LIMIT = 0.5
BACKENDS = ("onnxruntime", "openvino")
DRAWS = 1000

Points = dict[str, float]
"""FP32's recall or precision less the engine's, in points (see the module's docstring)."""


def copied(pictures: Pictures, copy: Path) -> Pictures:
    """The same labels with the images of a noisy copy."""
    listed = [
        (number, Picture(str(copy / "val" / f"{Path(picture.path).stem}.png"), picture.name))
        for number, picture in pictures.listed
    ]
    return dataclasses.replace(pictures, listed=listed)


def shrunk(found: Sequence[Any], factor: float) -> list[Any]:
    """Detections (image id, [M, 6]) of engines; the scores of all but the first, FP32, times ``factor``."""
    base, *others = found

    def smaller(rows: Any) -> Any:
        return np.column_stack([rows[:, 0], rows[:, 1] * factor, rows[:, 2:]])

    return [base, *([(number, smaller(rows)) for number, rows in one] for one in others)]


def lost(base: Operating, other: Operating, what: str) -> float:
    """Points by which ``base`` is above."""
    return 100 * (float(base[what]) - float(other[what]))  # type: ignore[literal-required]


def points(side: Seen, named: Sequence[tuple[str, float]], new: Sequence[float]) -> Points:
    """What the thresholds ``new`` do on the images of ``side``."""
    pairs = [side.curves(index) for index in range(len(named))]
    base, other, old = [b for b, _ in pairs], [o for _, o in pairs], [at for _, at in named]
    # Where a class never has FP32's precision here, its own threshold is as good as any.
    once = np.ones((1, side.base.image_ids.size), np.int32)
    own = [float(moved(b, o, at, once, PRECISION)[0]) for (b, o), at in zip(pairs, old, strict=True)]
    best = [at if np.isnan(there) else there for at, there in zip(new, own, strict=True)]
    fp32, chosen = operating_point(base, old), operating_point(other, new)
    return {
        "moved": lost(fp32, chosen, "recall"),
        "unmoved": lost(fp32, operating_point(other, old), "recall"),
        "precision": lost(fp32, chosen, "precision"),
        "at_precision": lost(fp32, operating_point(other, best), "recall"),
    }


def result(copies: Sequence[dict[str, dict[str, Points]]], run: dict[str, Any]) -> dict[str, Any]:
    """The last line, of what was found on each copy: kind of scores -> backend -> points."""
    found: dict[str, Any] = {}
    for kind, backends in copies[0].items():
        found[kind] = {}
        for backend, names in backends.items():
            found[kind][backend] = {name: told([copy[kind][backend][name] for copy in copies]) for name in names}
    within = all(
        one["moved"]["mean"] <= LIMIT and one["unmoved"]["mean"] > one["moved"]["mean"]
        for one in found["shrunk"].values()
    )
    return {"within": within, "copies": len(copies), **found, "run": run}


def said(report: dict[str, Any]) -> dict[str, Any]:
    """What a report says of its INT8 engines: recall and precision on the validation images, in percent."""
    return {
        content["backend"]: {
            side: {name: round(100 * value, 2) for name, value in engine["validation"][side].items()}
            for side in ("base", "unmoved", "moved")
        }
        for content in report["thresholds"]
        for engine in content["engines"]
        if engine["precision"] == "int8"
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("artifacts/bench-thresholds"), help="where the run is kept")
    parser.add_argument("--bccd", type=Path, required=True, help="folder of the blood cells' data set")
    parser.add_argument("--weights", type=Path, required=True, help="a FP32 checkpoint that was trained on it")
    parser.add_argument("--score", type=float, default=0.5, help="FP32's threshold")
    parser.add_argument("--shrink", type=float, default=0.8, help="what INT8's scores are multiplied by on purpose")
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, e.g. compression=ptq")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    own = ["experiment=bccd", f"data.root={options.bccd.resolve()}", "finetune.enabled=false",
           f"model.weights={options.weights.resolve()}", f"backend=[{','.join(BACKENDS)}]",
           f"thresholds.score={options.score}"]  # fmt: skip
    detpress(folder, "compress", *own, *SHORT, *options.set)
    run = said(last_report(folder))
    print(f"the run says {json.dumps(run)}", flush=True)
    store, stages = Store(folder), last_stages(folder)
    context = FakeContext(folder / "scratch", cores=allowed_cores())
    labels = Sidecar.read(store.load_as(stages[ids.build(BACKENDS[0], "fp32")]["entry"], Engine).path(FILE_NAME)).labels
    named = [(label, options.score) for label in labels]
    train, val = (
        labeled_pictures(store.load_as(stages[ids.labels(split)]["entry"], LabeledSet), list(labels), 1000, context)
        for split in ("train", "val")
    )
    kinds, new = {"plain": 1.0, "shrunk": options.shrink}, dict[tuple[str, str], list[float]]()
    engines = {
        backend: [store.load_as(stages[ids.build(backend, of)]["entry"], Engine) for of in ("fp32", "int8")]
        for backend in BACKENDS
    }
    weights = draw_weights(len(train.listed), DRAWS, 0)
    for backend, pair in engines.items():
        found = detect(pair, train, NmsOptions(), context)
        for kind, factor in kinds.items():
            (side,) = seen(shrunk(found, factor), train, [at for _, at in named])
            chosen = choose("int8", side, named, weights, PRECISION)
            new[kind, backend] = [one["threshold"] for one in chosen["classes"]]
            print(f"{backend} {kind}: {dict(zip(labels, new[kind, backend], strict=True))}", flush=True)
    copies: list[dict[str, dict[str, Points]]] = []
    for copy in range(options.copies):
        data = folder / f"data-{copy}"
        if not (data / "val.json").is_file():
            noisy(options.bccd.resolve(), data, copy)
        pictures, one = copied(val, data), {kind: dict[str, Points]() for kind in kinds}
        for backend, pair in engines.items():
            found = detect(pair, pictures, NmsOptions(), context)
            for kind, factor in kinds.items():
                (side,) = seen(shrunk(found, factor), pictures, [at for _, at in named])
                one[kind][backend] = points(side, named, new[kind, backend])
        copies.append(one)
        print(f"copy {copy}: {json.dumps(one)}", flush=True)
    print(json.dumps(result(copies, run)))


if __name__ == "__main__":
    main()
