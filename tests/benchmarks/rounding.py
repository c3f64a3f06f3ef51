"""Whether a float format costs mAP, beyond what rounding does by chance: ``make bench-rounding``.

Rounding moves boxes and scores a little in any direction, and on some hundred images that moves mAP by some tenths of a
point, up or down. One number says which way chance went. So the validation images (``--bccd FOLDER``) are copied
``--draws`` times with noise of at most one grey level, which nobody sees, and each float variant is scored on each
copy. It prints a line a copy, and last one JSON object:

- ``difference``: backend and variant -> the mean of variant - FP32 over the copies, points of mAP, with its 95 %
  interval (Student's t), and the smallest and the largest of them;
- ``fp32``: how far FP32 itself moves from copy to copy: the standard deviation of its mAP.

The first copy is the images as they are.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.benchmarks.seeds import SHORT, detpress, last_report, told

FLOATS = {"openvino": "[fp32,bf16]", "paddle_inference": "[fp32,bf16]"}
"""Backend -> the float variants that are compared."""

COPIES = 12

Scores = dict[str, dict[str, float]]
"""Backend -> variant -> mAP."""


def noisy(source: Path, out: Path, draw: int) -> Path:
    """A copy of a data set in which every grey level of its validation images is one less, the same or one more."""
    rng = np.random.default_rng(draw)
    (out / "val").mkdir(parents=True, exist_ok=True)
    for name in ("train", "train.json"):
        (out / name).symlink_to(source / name)
    coco = json.loads((source / "val.json").read_text(encoding="utf-8"))
    for image in coco["images"]:
        pixels = cv2.imread(str(source / "val" / image["file_name"]))
        moved = pixels.astype(np.int16) + (rng.integers(-1, 2, pixels.shape) if draw else 0)
        image["file_name"] = f"{Path(image['file_name']).stem}.png"
        cv2.imwrite(str(out / "val" / image["file_name"]), np.clip(moved, 0, 255).astype(np.uint8))
    (out / "val.json").write_text(json.dumps(coco), encoding="utf-8")
    return out


def scored(folder: Path, data: Path, weights: Path, backends: list[str], more: list[str]) -> Scores:
    """The mAP of each float variant on a data set."""
    own = ["experiment=bccd", f"data.root={data}", "finetune.enabled=false", f"model.weights={weights}"]
    variants = [f"backend.{name}.variants={FLOATS[name]}" for name in backends]
    detpress(folder, "compress", *own, "compression=none", "agreement=none", f"backend=[{','.join(backends)}]",
             *variants, *SHORT, *more)  # fmt: skip
    found: Scores = {}
    for row in last_report(folder)["rows"]:
        found.setdefault(row["backend"], {})[row["precision"]] = row["map"]
    return found


def result(draws: list[Scores]) -> dict[str, Any]:
    """The last line, of what was scored on each copy."""
    difference: dict[str, Any] = {}
    for backend, variants in draws[0].items():
        for variant in variants:
            if variant == "fp32":
                continue
            apart = [one[backend][variant] - one[backend]["fp32"] for one in draws]
            ends = {"smallest": round(min(apart), 3), "largest": round(max(apart), 3)}
            difference[f"{backend} {variant}"] = {**told(apart), **ends}
    own = [next(iter(one.values()))["fp32"] for one in draws]
    return {
        "difference": difference,
        "fp32": round(statistics.stdev(own), 3) if len(own) > 1 else None,
        "draws": len(draws),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("artifacts/bench-rounding"), help="where the runs are kept")
    parser.add_argument("--bccd", type=Path, required=True, help="folder of the blood cells' data set")
    parser.add_argument("--weights", type=Path, required=True, help="a FP32 checkpoint that was trained on it")
    parser.add_argument("--draws", type=int, default=COPIES, help=f"copies of the images, at most {COPIES}")
    parser.add_argument("--backends", nargs="+", default=list(FLOATS), choices=list(FLOATS))
    parser.add_argument("--set", nargs="*", default=[], help="further overrides")
    options = parser.parse_args()
    if not 1 <= options.draws <= COPIES:
        parser.error(f"--draws: give 1 to {COPIES}")
    folder = options.folder.resolve()
    draws: list[Scores] = []
    for draw in range(options.draws):
        kept = folder / f"draw-{draw}.json"
        if not kept.is_file():
            data = folder / f"data-{draw}"
            if not (data / "val.json").is_file():
                noisy(options.bccd.resolve(), data, draw)
            found = scored(folder, data, options.weights.resolve(), options.backends, options.set)
            kept.write_text(json.dumps(found))
        draws.append(json.loads(kept.read_text()))
        print(f"copy {draw}: {json.dumps(draws[-1])}", flush=True)
    print(json.dumps(result(draws)))


if __name__ == "__main__":
    main()
