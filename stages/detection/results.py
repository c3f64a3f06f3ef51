"""Detections in COCO's results form: class index to category id, one list for all images, and its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.contract import StageContext
from stages.detection.classes import listed, match_classes, require_known
from stages.detection.matching import Detections, Truth

WRITTEN_AT_ONCE = 20_000  # detections


Floats = npt.NDArray[np.float32]


def class_to_category(labels: list[str], coco: Mapping[str, Any], context: StageContext) -> list[int | None]:
    """Class index of the model -> category id of the data set; ``None`` for classes the data set does not have.

    Args:
        labels: the model's classes, in its order.
        coco: content of a COCO file: the labels that are scored on.

    Raises:
        DataError: the classes do not match (`stages/detection/classes.py` says when they do).
    """
    matched = match_classes(labels, coco["categories"])
    if matched.by_order:
        theirs = listed([str(c["name"]) for c in coco["categories"]])
        context.warn(f"the model calls its classes {listed(labels)}, the labels {theirs}; matched by their order")
    if (remark := require_known(coco, matched, "the labels")) is not None:
        context.warn(remark)
    return matched.categories


def gather(found: list[tuple[int, Floats]], truth: Truth, categories: list[int | None]) -> Detections:
    """Detections [M, 6] of each image (by id) as arrays, rounded to a thousandth of a pixel and a millionth of a score.

    Classes that the data set does not have are left out.
    """
    numbers = {category: number for number, category in enumerate(truth.category_ids)}
    of_class = np.array([-1 if c is None else numbers[c] for c in categories], np.int32)
    images = {image: number for number, image in enumerate(truth.image_ids)}
    rows = np.concatenate([np.empty((0, 6), np.float32), *(boxes for _, boxes in found)]).astype(np.float64)
    image = np.repeat([images[i] for i, _ in found], [len(boxes) for _, boxes in found]).astype(np.int32)
    category = of_class[rows[:, 0].astype(np.int32)]
    kept = category >= 0
    corner, size = rows[:, 2:4], rows[:, 4:6] - rows[:, 2:4]
    box = np.round(np.concatenate([corner, size], axis=1), 3)
    return Detections(image[kept], category[kept], np.round(rows[kept, 1], 6), box[kept])


def as_coco(found: Detections, truth: Truth, part: slice = slice(None)) -> list[dict[str, Any]]:
    """COCO results: ``{"image_id", "category_id", "bbox": [x, y, width, height], "score"}`` each."""
    columns = (found.image[part], found.category[part], found.box[part], found.score[part])
    return [
        {
            "image_id": truth.image_ids[image],
            "category_id": truth.category_ids[category],
            "bbox": box,
            "score": confidence,
        }
        for image, category, box, confidence in zip(*(column.tolist() for column in columns), strict=True)
    ]


def write_coco(path: Path, found: Detections, truth: Truth) -> None:
    """Write COCO results part by part: as one list of dicts, a large set's would take gigabytes."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write("[")
        for start in range(0, found.score.size, WRITTEN_AT_ONCE):
            part = json.dumps(as_coco(found, truth, slice(start, start + WRITTEN_AT_ONCE)))[1:-1]
            stream.write((", " if start else "") + part)
        stream.write("]")
