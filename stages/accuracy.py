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
    nms                       the settings
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stages import backends
from stages.backends.base import feeds_for
from stages.contract import AccuracyResult, Engine, LabeledSet, StageContext, hash_files
from stages.detection.images import read_image
from stages.detection.nms import multiclass_nms
from stages.detection.preprocess import Preprocessor
from stages.detection.scoring import score
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import ConfigError, DataError, StageError
from stages.options import AccuracyOptions

SCHEMA_VERSION = 1
AHEAD = 3  # batches that are read and preprocessed ahead of the engine

Floats = npt.NDArray[np.float32]


class Accuracy:
    """Runs the engine on the validation set and scores what it finds."""

    name: ClassVar[str] = "accuracy"
    version: ClassVar[int] = 1
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
        engine, validation, o = inputs.engine, inputs.validation, self.options
        if o.max_images is not None and o.max_images < 1:
            raise ConfigError([f"accuracy.max_images={o.max_images} has to be 1 or more, or null for all images"])
        coco = json.loads(validation.path("annotations.json").read_text(encoding="utf-8"))
        if o.max_images is not None and o.max_images < len(coco["images"]):
            coco["images"] = coco["images"][: o.max_images]
            ids = {image["id"] for image in coco["images"]}
            coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] in ids]
            context.warn(f"scored on the first {o.max_images} images only (accuracy.max_images)")
        sidecar = Sidecar.read(engine.path(FILE_NAME))
        categories = class_to_category(list(sidecar.labels), coco["categories"], context)
        root = Path(validation.images_root)
        detections: list[dict[str, Any]] = []
        for image, found in self._detect(engine, sidecar, root, coco["images"], context):
            detections += as_coco(found, image["id"], categories)
        metrics = score(coco, detections)
        content = {
            "schema_version": SCHEMA_VERSION,
            "backend": engine.backend,
            "precision": str(engine.precision),
            "model_labels": list(sidecar.labels),
            "images": len(coco["images"]),
            "images_without_boxes": len(coco["images"]) - len({a["image_id"] for a in coco["annotations"]}),
            "boxes": sum(c["boxes"] for c in metrics["per_class"]),
            "detections": len(detections),
            **{name: _points(metrics[of]) for name, of in (("map", "AP"), ("map50", "AP50"), ("map75", "AP75"))},
            **metrics,
            "nms": dataclasses.asdict(o.nms),
        }
        (context.out / "accuracy.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        (context.out / "detections.json").write_text(json.dumps(detections), encoding="utf-8")
        for name in ("map", "map50", "map75"):
            if content[name] is not None:
                context.metric(f"{name}.{engine.backend}.{engine.precision}", content[name])
        return AccuracyResult(
            root=context.out,
            files=hash_files(context.out),
            backend=engine.backend,
            precision=engine.precision,
        )

    def _detect(
        self, engine: Engine, sidecar: Sidecar, root: Path, images: list[dict[str, Any]], context: StageContext
    ) -> Iterator[tuple[dict[str, Any], Floats]]:
        """Each image with its detections [M, 6] in pixels of the image."""
        backend = backends.get(engine.backend)
        backend.prepare()
        preprocess = Preprocessor(sidecar)
        size = max(1, engine.batch)
        groups = [images[i : i + size] for i in range(0, len(images), size)]
        started = perf_counter()
        done = 0
        with backend.open(engine) as session, ThreadPoolExecutor(1) as reader:
            waiting: list[Future[tuple[Floats, Floats]]] = []
            for number, group in enumerate(groups):
                while len(waiting) < AHEAD and number + len(waiting) < len(groups):
                    waiting.append(reader.submit(_read, preprocess, root, groups[number + len(waiting)], size))
                batch, scales = waiting.pop(0).result()
                boxes, scores = (np.asarray(out, np.float32) for out in session.infer(feeds_for(engine, batch, scales)))
                if scores.shape[1] != len(sidecar.labels):
                    raise StageError(f"the engine scores {scores.shape[1]} classes, its {FILE_NAME} names "
                                     f"{len(sidecar.labels)}; export the model again")  # fmt: skip
                for i, image in enumerate(group):
                    if not (np.isfinite(boxes[i]).all() and np.isfinite(scores[i]).all()):
                        raise StageError(
                            f"the {engine.backend} {engine.precision} engine gives NaN or infinite values on "
                            f"{image['file_name']}, so it has no accuracy; build it again with other backend options"
                        )
                    own = boxes[i] if engine.scale_factor else boxes[i] / scales[i][[1, 0, 1, 0]]
                    yield image, multiclass_nms(own, scores[i], self.options.nms)
                done += len(group)
                if done % (size * 8) == 0 or done == len(images):
                    context.progress(done, len(images), images_per_s=done / (perf_counter() - started))


def _read(preprocess: Preprocessor, root: Path, group: list[dict[str, Any]], size: int) -> tuple[Floats, Floats]:
    """A preprocessed batch of ``size``; a short last group is filled up with its last image."""
    pictures = [read_image(root / image["file_name"]) for image in group]
    return preprocess.batch(pictures + pictures[-1:] * (size - len(pictures)))


def class_to_category(labels: list[str], categories: list[dict[str, Any]], context: StageContext) -> list[int | None]:
    """Class index of the model -> category id of the data set; ``None`` for classes the data set does not have.

    Matched by name where the names allow it, so that a model of COCO's 80 classes can be scored on a set that labels
    three of them; else by order, if the numbers agree.

    Raises:
        DataError: neither fits.
    """
    names = [c["name"] for c in categories]
    by_name = {c["name"]: int(c["id"]) for c in categories}
    if len(set(labels)) == len(labels) and set(names) <= set(labels):
        return [by_name.get(label) for label in labels]
    if len(labels) == len(names):
        context.warn(f"the model calls its classes {_few(labels)}, the labels {_few(names)}; matched by their order")
        return [int(c["id"]) for c in categories]
    raise DataError(
        f"the model has {len(labels)} classes ({_few(labels)}), the validation labels {len(names)} ({_few(names)}), "
        "and the names do not match; use the labels the model was trained on, or set model.labels"
    )


def as_coco(found: Floats, image_id: int, categories: list[int | None]) -> list[dict[str, Any]]:
    """Detections [M, 6] as COCO results, rounded to a thousandth of a pixel and a millionth of a score."""
    return [
        {
            "image_id": image_id,
            "category_id": categories[int(index)],
            "bbox": [round(x1, 3), round(y1, 3), round(x2 - x1, 3), round(y2 - y1, 3)],
            "score": round(confidence, 6),
        }
        for index, confidence, x1, y1, x2, y2 in found.tolist()
        if categories[int(index)] is not None
    ]


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _points(value: float | None) -> float | None:
    return None if value is None else 100 * value
