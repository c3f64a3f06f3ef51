"""Stage ``accuracy``: COCO mAP of one built engine, on every validation image.

What is scored is what will run: the engine itself, not the model it was built from. Preprocessing, NMS and metrics are
the same for every backend.

``accuracy.json``::

    schema_version, backend, precision, model_labels
    images, images_without_boxes, boxes (labelled, crowds left out), detections
    map, map50, map75         in points, 0 to 100: what the report's tables show
    AP, AP50, AP75, AP_small, AP_medium, AP_large, AR_1, AR_10, AR_100, AR_small, AR_medium, AR_large
                              as COCO gives them, 0 to 1; null where the labels hold no box of that size
    per_class                 [{"name", "AP", "AP50", "boxes"}], in order of category id
    checked                   whether pycocotools scored the same detections too, with the same result
    nms                       the settings
    nms_in                    ``graph`` where the engine does it itself; else it is not there

``matches.npz`` keeps what became of each detection, for `stages/accuracy/compare.py`.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

from stages.accuracy.all_cores import AllCores
from stages.accuracy.detections import Picture
from stages.accuracy.pycocotools_check import score
from stages.artifacts import AccuracyResult, Engine, LabeledSet, hash_files
from stages.contract import StageContext
from stages.detection.average_precision import STATS, summarize
from stages.detection.matching import Truth, match
from stages.detection.results import Floats, as_coco, class_to_category, gather, write_coco
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import DataError, StageError
from stages.options.accuracy import AccuracyOptions
from stages.options.check import require_valid
from stages.outside import names

SCHEMA_VERSION = 1


class Accuracy:
    """Runs the engine on the validation set and scores what it finds."""

    name: ClassVar[str] = "accuracy"
    version: ClassVar[int] = 4
    packages: ClassVar[tuple[str, ...]] = ("numpy", "opencv-python-headless", "pycocotools")
    Options: ClassVar[type] = AccuracyOptions
    Output: ClassVar[type[AccuracyResult]] = AccuracyResult

    @dataclass(frozen=True)
    class Inputs:
        engine: Engine
        validation: LabeledSet

    def __init__(self, options: AccuracyOptions) -> None:
        self.options = options

    def run(self, inputs: Inputs, context: StageContext) -> AccuracyResult:
        """Score one engine; metrics are named ``map.<backend>.<precision>`` and so on."""
        engine, o = inputs.engine, self.options
        require_valid(o, "accuracy")
        coco = self._labels(inputs.validation, context)
        labels = list(Sidecar.read(engine.path(FILE_NAME)).labels)
        categories = class_to_category(labels, coco, context)
        truth = Truth.from_coco(coco)
        found = self._detect(engine, Path(inputs.validation.images_root), coco["images"], context)
        detections = gather(found, truth, categories)
        matches = match(truth, detections)
        metrics = by_class(summarize(matches), coco["categories"])
        checked = detections.score.size <= o.check_detections
        if checked:
            _check(metrics, score(coco, as_coco(detections, truth)))
        content = {
            "schema_version": SCHEMA_VERSION,
            "backend": engine.backend,
            "precision": str(engine.precision),
            "model_labels": labels,
            "images": len(coco["images"]),
            "images_without_boxes": len(coco["images"]) - len({a["image_id"] for a in coco["annotations"]}),
            "boxes": sum(c["boxes"] for c in metrics["per_class"]),
            "detections": detections.score.size,
            **{name: _points(metrics[of]) for name, of in (("map", "AP"), ("map50", "AP50"), ("map75", "AP75"))},
            **metrics,
            "checked": checked,
            "nms": dataclasses.asdict(o.nms),
            **({"nms_in": "graph"} if engine.nms_inside else {}),
        }
        (context.out / "accuracy.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        write_coco(context.out / "detections.json", detections, truth)
        matches.save(context.out / "matches.npz")
        for name in ("map", "map50", "map75"):
            if content[name] is not None:
                context.metric(f"{name}.{engine.backend}.{engine.precision}", content[name])
        files = hash_files(context.out)
        return AccuracyResult(root=context.out, files=files, backend=engine.backend, precision=engine.precision)

    def _labels(self, validation: LabeledSet, context: StageContext) -> dict[str, Any]:
        """The set's COCO content, of the first ``max_images`` images if that is set."""
        most = self.options.max_images
        coco: dict[str, Any] = json.loads(validation.path("annotations.json").read_text(encoding="utf-8"))
        if most is not None and most < len(coco["images"]):
            coco["images"] = coco["images"][:most]
            ids = {image["id"] for image in coco["images"]}
            coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] in ids]
            context.warn(f"scored on the first {most} images only (accuracy.max_images)")
            if all(annotation["iscrowd"] for annotation in coco["annotations"]):
                raise DataError(f"the first {most} validation images hold no box; raise accuracy.max_images")
        return coco

    def _detect(
        self, engine: Engine, root: Path, images: list[dict[str, Any]], context: StageContext
    ) -> list[tuple[int, Floats]]:
        """(id, detections [M, 6] in pixels of the image) of each image."""
        started = perf_counter()
        every, told = max(1, engine.batch) * 8, 0

        def progress(done: int) -> None:
            nonlocal told
            if done - told >= every or done == len(images):
                told = done
                context.progress(done, len(images), images_per_s=done / (perf_counter() - started))

        pictures = [Picture(str(names.image_path(root, image)), image["file_name"]) for image in images]
        all_cores = AllCores(engine, self.options.nms, pictures, progress=progress, warn=context.warn)
        found = all_cores.detect(context.cores)
        if all_cores.processes > 1:
            context.detail(f"{all_cores.processes} processes ran the {engine.backend} {engine.precision} engine")
        return [(image["id"], rows) for image, rows in zip(images, found, strict=True)]


def by_class(summary: dict[str, Any], categories: list[dict[str, Any]]) -> dict[str, Any]:
    """A summary in the form of ``accuracy.json``: a dict per class."""
    names = {int(c["id"]): c["name"] for c in categories}
    columns = zip(*(summary[f"per_class_{of}"] for of in ("ap", "ap50", "boxes")), strict=True)
    per_class = [
        {"name": names[category], "AP": ap, "AP50": ap50, "boxes": boxes}
        for category, (ap, ap50, boxes) in zip(sorted(names), columns, strict=True)
    ]
    return {**{name: summary[name] for name in STATS}, "per_class": per_class}


def _check(own: dict[str, Any], other: dict[str, Any]) -> None:
    """Raise if pycocotools gives other numbers than we do."""
    for name in own:
        if own[name] != other[name]:
            raise StageError(
                f"our {name} is {own[name]}, pycocotools gives {other[name]} on the same detections; report this (with "
                "accuracy.check_detections=0 the check is left out)"
            )


def _points(value: float | None) -> float | None:
    return None if value is None else 100 * value
