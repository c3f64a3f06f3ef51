"""Stage ``compare``: what another variant than FP32 cost, on the same images, and whether that is more than chance.

``compare.json``; every difference is ``other - base``, in points (0 to 100) of mAP::

    schema_version, backend, base, other, images, draws, confidence
    difference    {"map", "map50", "map75", "map_small", "map_medium", "map_large":
                   {"value", "low", "high"}}: the difference and its interval; null where it is not defined
    per_class     [{"name", "boxes", "value", "low", "high"}], in order of category id
    threshold     the score at which the base has its best F1: what follows is seen at it
    calibration   {"base", "other": see ``comparing.calibration``, "shift": see ``comparing.score_shift``}
    image_loss    {"mean", "worse", "better"}: F1 that images lose, and how many lose or gain any
    worst         [{"image_id", "file_name", "base_f1", "other_f1", "loss", "picture"}], largest loss first
    typical       the same of images in the middle: their loss and FP32's F1 are nearest to the medians
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

from stages.accuracy import per_image
from stages.artifacts import AccuracyResult, Comparison, LabeledSet, hash_files
from stages.contract import StageContext
from stages.detection.differences import CONFIDENCE, NAMES, Floats, differ
from stages.detection.matching import Matches
from stages.errors import StageError
from stages.numerics.variants import title_of
from stages.options.accuracy import CompareOptions
from stages.outside import names

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class CompareInputs:
    """Two results of one backend on one validation set."""

    base: AccuracyResult
    other: AccuracyResult
    validation: LabeledSet


class Compare:
    """The stage."""

    name: ClassVar[str] = "compare"
    version: ClassVar[int] = 3
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
        called = {int(c["id"]): c["name"] for c in coco["categories"]}
        threshold = per_image.best_threshold(base)
        f1 = np.stack([per_image.image_f1(m, threshold) for m in (base, other)])
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
                {"name": called[int(category)], **differences["per_class"][k]}
                for k, category in enumerate(base.category_ids)
            ],
            "threshold": threshold,
            "calibration": {
                "base": per_image.calibration(base),
                "other": per_image.calibration(other),
                "shift": per_image.score_shift(base, other),
            },
            "image_loss": {
                "mean": float((f1[0] - f1[1]).mean()),
                "worse": int(np.count_nonzero(f1[1] < f1[0])),
                "better": int(np.count_nonzero(f1[1] > f1[0])),
            },
            **self._pictures(inputs, coco, f1, (base, other), threshold, context.out),
            "seconds": seconds,
        }
        (context.out / "compare.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        np.savez(context.out / "draws.npz", **draws)  # type: ignore[arg-type]
        difference = content["difference"]["map"]
        for suffix, value in () if difference is None else (("", "value"), (".low", "low"), (".high", "high")):
            if difference[value] is not None:
                context.metric(
                    f"map_difference.{inputs.base.backend}.{inputs.other.precision}{suffix}", difference[value]
                )
        context.progress(2, 2)
        return Comparison(
            root=context.out,
            files=hash_files(context.out),
            backend=inputs.base.backend,
            base=inputs.base.precision,
            other=inputs.other.precision,
        )

    def _pictures(
        self,
        inputs: CompareInputs,
        coco: dict[str, Any],
        f1: Floats,
        matches: tuple[Matches, Matches],
        threshold: float,
        out: Path,
    ) -> dict[str, list[dict[str, Any]]]:
        """``worst`` and ``typical``, with a picture of each."""
        loss = f1[0] - f1[1]
        images = {int(image["id"]): image for image in coco["images"]}
        ids = [int(number) for number in matches[0].image_ids]
        shown = [i for i in range(len(ids)) if names.may_be_copied(images[ids[i]])]
        worst = [i for i in sorted(shown, key=lambda i: -loss[i])[: self.options.worst] if loss[i] > 0]
        away = np.abs(loss - np.median(loss)), np.abs(f1[0] - np.median(f1[0]))
        others = sorted((i for i in shown if i not in worst), key=lambda i: (away[0][i], away[1][i]))
        return {
            name: [
                {
                    "image_id": ids[number],
                    "file_name": images[ids[number]]["file_name"],
                    "base_f1": float(f1[0, number]),
                    "other_f1": float(f1[1, number]),
                    "loss": float(loss[number]),
                    "picture": picture,
                }
                for number, picture in self._drawn(inputs, coco, chosen, matches, threshold, out, name)
            ]
            for name, chosen in (("worst", worst), ("typical", others[: self.options.typical]))
        }

    def _drawn(
        self,
        inputs: CompareInputs,
        coco: dict[str, Any],
        chosen: list[int],
        matches: tuple[Matches, Matches],
        threshold: float,
        out: Path,
        name: str,
    ) -> list[tuple[int, str]]:
        """The images of these numbers and the names of their pictures."""
        if not chosen:
            return []
        from stages.accuracy.pictures import side_by_side

        images = {int(image["id"]): image for image in coco["images"]}
        found = [_of_images(m, chosen, threshold) for m in matches]
        drawn = []
        for place, number in enumerate(chosen):
            image_id = int(matches[0].image_ids[number])
            picture = f"{name}-{place + 1}.jpg"
            side_by_side(
                names.image_path(Path(inputs.validation.images_root), images[image_id]),
                [a for a in coco["annotations"] if a["image_id"] == image_id],
                [of[place] for of in found],
                [title_of(result.precision) for result in (inputs.base, inputs.other)],
                {int(c["id"]): c["name"] for c in coco["categories"]},
                out / picture,
            )
            drawn.append((number, picture))
        return drawn


def _of_images(matches: Matches, numbers: list[int], threshold: float) -> list[list[dict[str, Any]]]:
    """COCO results of some images (by number), from the threshold on."""
    found = []
    for number in numbers:
        own = np.flatnonzero((matches.image == number) & (matches.score >= threshold))
        categories = matches.category_ids[matches.category[own]].tolist()
        columns = zip(categories, matches.bbox[own].tolist(), matches.score[own].tolist(), strict=True)
        found.append([{"category_id": c, "bbox": box, "score": score} for c, box, score in columns])
    return found
