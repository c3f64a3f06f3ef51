"""The images that thresholds are moved by, and what engines find on them: matched with labels, or with FP32's boxes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.accuracy.all_cores import AllCores
from stages.accuracy.detections import Picture
from stages.artifacts import AccuracyResult, Engine, ImageList, LabeledSet
from stages.contract import StageContext
from stages.detection.classes import match_classes
from stages.detection.images import evenly_spaced
from stages.detection.matching import Detections, Matches, Truth, match
from stages.detection.results import Floats, class_to_category, gather
from stages.detection.unlabeled import listed_paths
from stages.errors import DataError
from stages.options.accuracy import NmsOptions
from stages.outside import names
from stages.thresholds.choosing import Seen

LABELS, FP32_BOXES = "labels", "fp32"
"""What detections are matched with."""


@dataclass(frozen=True)
class Pictures:
    """Images, each with its id, and the labels of all of them; ``truth`` is ``None`` without labels.

    ``categories``: class of the model -> category id, ``None`` for a class that the labels do not have.
    """

    listed: list[tuple[int, Picture]]
    truth: Truth | None
    categories: list[int | None]

    @property
    def by(self) -> str:
        return FP32_BOXES if self.truth is None else LABELS


def labeled_pictures(labeled: LabeledSet, labels: list[str], most: int, context: StageContext) -> Pictures:
    """Up to ``most`` images of a labelled set, spread over it.

    Raises:
        DataError: it has no image, or classes that the model does not have.
    """
    coco = json.loads(labeled.path("annotations.json").read_text(encoding="utf-8"))
    coco["images"] = evenly_spaced(coco["images"], most)
    ids = {image["id"] for image in coco["images"]}
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] in ids]
    root = Path(labeled.images_root)
    listed = [(int(i["id"]), Picture(str(names.image_path(root, i)), i["file_name"])) for i in coco["images"]]
    _require(listed)
    return Pictures(listed, Truth.from_coco(coco), class_to_category(labels, coco, context))


def unlabeled_pictures(images: ImageList, labels: list[str], most: int) -> Pictures:
    """Up to ``most`` images without labels. Raises DataError if there is none."""
    paths = evenly_spaced(listed_paths(images), most)
    _require(paths)
    listed = [(number, Picture(str(path), path.name)) for number, path in enumerate(paths)]
    return Pictures(listed, None, list(range(len(labels))))


def _require(listed: Sequence[object]) -> None:
    if not listed:
        raise DataError("thresholds: there is no image that they could be moved by; give data.train_annotations and "
                        "data.train_images, or unlabeled images")  # fmt: skip


def detect(
    engines: Sequence[Engine], pictures: Pictures, nms: NmsOptions, context: StageContext
) -> list[list[tuple[int, Floats]]]:
    """(image id, detections [M, 6]) of each image, for each engine."""
    every = [picture for _, picture in pictures.listed]
    total = len(engines) * len(every)
    found = []
    for number, engine in enumerate(engines):

        def progress(done: int, before: int = number * len(every)) -> None:
            context.progress(before + done, total)

        rows = AllCores(engine, nms, every, progress=progress, warn=context.warn).detect(context.cores)
        found.append([(of, kept) for (of, _), kept in zip(pictures.listed, rows, strict=True)])
    return found


def seen(found: Sequence[list[tuple[int, Floats]]], pictures: Pictures, thresholds: Sequence[float]) -> list[Seen]:
    """Each engine beside the first one, which is FP32.

    Args:
        found: see `detect`.
        thresholds: FP32's, of each class of the model.
    """
    if pictures.truth is not None:
        truth, numbers = pictures.truth, numbered(pictures.categories, pictures.truth.category_ids)
        matches = [match(truth, gather(of, truth, pictures.categories)) for of in found]
    else:
        truth = _without_boxes(pictures)
        detections = [gather(of, truth, pictures.categories) for of in found]
        truth = _boxes_of(detections[0], truth, thresholds)
        numbers = {index: index for index in range(len(thresholds))}
        matches = [match(truth, each) for each in detections]
    return [Seen(matches[0], other, numbers) for other in matches[1:]]


def scored(base: AccuracyResult, other: AccuracyResult, labels: list[str], validation: LabeledSet) -> Seen:
    """The same of the validation images, which were scored already."""
    coco = json.loads(validation.path("annotations.json").read_text(encoding="utf-8"))
    matches = [Matches.load(result.path("matches.npz")) for result in (base, other)]
    categories = match_classes(labels, coco["categories"]).categories
    return Seen(matches[0], matches[1], numbered(categories, matches[0].category_ids.tolist()))


def numbered(categories: Sequence[int | None], ids: Sequence[int]) -> Mapping[int, int]:
    """Class of the model -> number of its category, in the order of their ``ids``."""
    place = {category: number for number, category in enumerate(ids)}
    return {index: place[category] for index, category in enumerate(categories) if category is not None}


def _without_boxes(pictures: Pictures) -> Truth:
    none = np.empty(0, np.int32)
    return Truth([of for of, _ in pictures.listed], list(range(len(pictures.categories))), none, none,
                 np.empty((0, 4)), np.empty(0), np.empty(0, np.bool_))  # fmt: skip


def _boxes_of(found: Detections, truth: Truth, thresholds: Sequence[float]) -> Truth:
    """FP32's detections from its thresholds on, in the place of labels."""
    kept = found.score >= np.asarray(thresholds)[found.category]
    box = found.box[kept]
    return Truth(truth.image_ids, truth.category_ids, found.image[kept], found.category[kept], box,
                 box[:, 2] * box[:, 3], np.zeros(len(box), np.bool_))  # fmt: skip
