"""Stage ``compare``: what a reduced precision cost, on the same images, and whether that is more than chance.

``compare.json``; every difference is ``other - base``, in points (0 to 100) of mAP::

    schema_version, backend, base, other, images, draws, confidence
    difference    {"map", "map50", "map75", "map_small", "map_medium", "map_large":
                   {"value", "low", "high"}}: the difference and its interval; null where it is not defined
    per_class     [{"name", "boxes", "value", "low", "high"}], in order of category id
    threshold     the score at which the base has its best F1: what follows is seen at it
    calibration   {"base", "other": see ``comparing.calibration``, "shift": see ``comparing.score_shift``}
    image_loss    {"mean", "worse", "better"}: F1 that images lose, and how many lose or gain any
    worst         [{"image_id", "file_name", "base_f1", "other_f1", "loss", "picture"}], largest loss first
    seconds       how long the resampling took

``draws.npz`` holds the differences of each draw, in points, under the names of ``difference``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stages.contract import AccuracyResult, Comparison, LabeledSet, StageContext, hash_files
from stages.detection import comparing
from stages.detection.average_precision import accumulate
from stages.detection.bootstrap import draw_weights, interval, mean_over_classes, resample
from stages.detection.matching import AREAS, Matches
from stages.errors import StageError
from stages.options import CompareOptions

SCHEMA_VERSION = 1
CONFIDENCE = 0.95
NAMES: tuple[str, ...] = ("map", "map50", "map75", "map_small", "map_medium", "map_large")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CompareInputs:
    """Two results of one backend on one validation set."""

    base: AccuracyResult
    other: AccuracyResult
    validation: LabeledSet


class Compare:
    """The stage."""

    name: ClassVar[str] = "compare"
    version: ClassVar[int] = 2
    packages: ClassVar[tuple[str, ...]] = ("numpy", "opencv-python-headless")
    Options: ClassVar[type] = CompareOptions
    Inputs: ClassVar[type] = CompareInputs
    Output: ClassVar[type[Comparison]] = Comparison

    def __init__(self, options: CompareOptions) -> None:
        self.options = options

    def run(self, inputs: CompareInputs, context: StageContext) -> Comparison:
        """Metrics: ``map_difference.<backend>.<other>`` with ``.low`` and ``.high``."""
        base, other = (Matches.load(result.path("matches.npz")) for result in (inputs.base, inputs.other))
        if not np.array_equal(base.image_ids, other.image_ids) or not np.array_equal(
            base.truth_image, other.truth_image
        ):
            raise StageError("the two precisions were scored on different images; run again with one data set")
        coco = json.loads(inputs.validation.path("annotations.json").read_text(encoding="utf-8"))
        started = perf_counter()
        context.progress(0, 2)
        differences, draws = differ(base, other, self.options.draws, context.seed, context.threads)
        seconds = perf_counter() - started
        context.progress(1, 2)
        names = {int(c["id"]): c["name"] for c in coco["categories"]}
        threshold = comparing.best_threshold(base)
        f1 = np.stack([comparing.image_f1(m, threshold) for m in (base, other)])
        content: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "backend": inputs.base.backend,
            "base": str(inputs.base.precision),
            "other": str(inputs.other.precision),
            "images": base.images,
            "draws": self.options.draws,
            "confidence": CONFIDENCE,
            "difference": {name: differences[name] for name in NAMES},
            "per_class": [
                {"name": names[int(category)], **differences["per_class"][k]}
                for k, category in enumerate(base.category_ids)
            ],
            "threshold": threshold,
            "calibration": {
                "base": comparing.calibration(base),
                "other": comparing.calibration(other),
                "shift": comparing.score_shift(base, other),
            },
            "image_loss": {
                "mean": float((f1[0] - f1[1]).mean()),
                "worse": int(np.count_nonzero(f1[1] < f1[0])),
                "better": int(np.count_nonzero(f1[1] > f1[0])),
            },
            "worst": self._worst(inputs, coco, f1, (base, other), threshold, context),
            "seconds": seconds,
        }
        (context.out / "compare.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        np.savez(context.out / "draws.npz", **draws)  # type: ignore[arg-type]
        told = content["difference"]["map"]
        for suffix, value in () if told is None else (("", "value"), (".low", "low"), (".high", "high")):
            if told[value] is not None:
                context.metric(f"map_difference.{inputs.base.backend}.{inputs.other.precision}{suffix}", told[value])
        context.progress(2, 2)
        return Comparison(
            root=context.out,
            files=hash_files(context.out),
            backend=inputs.base.backend,
            base=inputs.base.precision,
            other=inputs.other.precision,
        )

    def _worst(
        self,
        inputs: CompareInputs,
        coco: dict[str, Any],
        f1: Floats,
        matches: tuple[Matches, Matches],
        threshold: float,
        context: StageContext,
    ) -> list[dict[str, Any]]:
        loss = f1[0] - f1[1]
        chosen = [int(i) for i in np.argsort(-loss, kind="stable")[: self.options.worst] if loss[i] > 0]
        if not chosen:
            return []
        from stages.detection.pictures import side_by_side

        images = {int(image["id"]): image for image in coco["images"]}
        ids = [int(matches[0].image_ids[i]) for i in chosen]
        found = [_of_images(m, chosen, threshold) for m in matches]
        worst = []
        for place, (number, image_id) in enumerate(zip(chosen, ids, strict=True), start=1):
            picture = f"worst-{place}.jpg"
            side_by_side(
                Path(inputs.validation.images_root) / images[image_id]["file_name"],
                [a for a in coco["annotations"] if a["image_id"] == image_id],
                [of[place - 1] for of in found],
                [inputs.base.precision.value.upper(), inputs.other.precision.value.upper()],
                {int(c["id"]): c["name"] for c in coco["categories"]},
                context.out / picture,
            )
            worst.append(
                {
                    "image_id": image_id,
                    "file_name": images[image_id]["file_name"],
                    "base_f1": float(f1[0, number]),
                    "other_f1": float(f1[1, number]),
                    "loss": float(loss[number]),
                    "picture": picture,
                }
            )
        return worst


def differ(
    base: Matches, other: Matches, draws: int, seed: int, threads: int
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Differences ``other - base`` in points, with intervals from ``draws`` resamplings, and the draws themselves."""
    points = 100 * (_averages(other) - _averages(base))  # [classes, areas, metrics]
    weights = draw_weights(base.images, draws, seed) if draws else np.zeros((0, base.images), np.int32)
    values = np.full((len(weights), *points.shape), np.nan)
    if draws:
        values = 100 * (resample(other, weights, threads) - resample(base, weights, threads))
    overall, resampled = mean_over_classes(points[None])[0], mean_over_classes(values)
    where = {name: (0, m) for m, name in enumerate(NAMES[:3])}
    where |= {f"map_{AREAS[a][0]}": (a, 0) for a in range(1, len(AREAS))}
    of_draws = {name: resampled[:, area, metric] for name, (area, metric) in where.items()}
    found: dict[str, Any] = {name: _told(float(overall[at]), of_draws[name]) for name, at in where.items()}
    boxes = np.bincount(base.truth_category[~base.truth_ignored[0]], minlength=base.categories)
    unknown = {"value": None, "low": None, "high": None}
    found["per_class"] = [
        {"boxes": int(boxes[k]), **(_told(float(points[k, 0, 0]), values[:, k, 0, 0]) or unknown)}
        for k in range(base.categories)
    ]
    return found, of_draws


def _averages(matches: Matches) -> Floats:
    """AP, AP50, AP75 [classes, areas, 3] of the set itself; NaN without boxes."""
    precision = accumulate(matches)[0]  # [IoUs, recall points, classes, areas]
    averages = np.stack([precision.mean(axis=(0, 1)), precision[0].mean(axis=0), precision[5].mean(axis=0)], axis=-1)
    return np.where(averages < 0, np.nan, averages)


def _told(value: float, draws: Floats) -> dict[str, float | None] | None:
    if np.isnan(value):
        return None
    low, high = interval(draws, CONFIDENCE) or (None, None)
    return {"value": value, "low": low, "high": high}


def _of_images(matches: Matches, numbers: list[int], threshold: float) -> list[list[dict[str, Any]]]:
    """COCO results of some images (by number), from the threshold on."""
    found = []
    for number in numbers:
        own = np.flatnonzero((matches.image == number) & (matches.score >= threshold))
        categories = matches.category_ids[matches.category[own]].tolist()
        columns = zip(categories, matches.bbox[own].tolist(), matches.score[own].tolist(), strict=True)
        found.append([{"category_id": c, "bbox": box, "score": score} for c, box, score in columns])
    return found
