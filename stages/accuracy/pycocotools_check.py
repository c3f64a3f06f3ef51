"""COCO's box metrics, by pycocotools, over every image: those without boxes count, with their false alarms.

What `stages/detection/average_precision.py` computes is checked against this.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np

from stages.detection.average_precision import STATS


def score(coco: dict[str, Any], detections: list[dict[str, Any]]) -> dict[str, Any]:
    """Metrics of detections against labels.

    Args:
        coco: content of a COCO file; all of its images are scored.
        detections: ``{"image_id", "category_id", "bbox": [x, y, w, h], "score"}`` each, in pixels; may be empty.

    Returns:
        ``STATS`` (0..1, ``None`` where the labels hold no such box) and ``per_class``: one dict per category, in the
        order of id, of ``name``, ``AP``, ``AP50`` (likewise) and ``boxes`` (how many are labelled, crowds left out).
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth, found = COCO(), COCO()
        truth.dataset = coco
        # COCO.loadRes fails on an empty list, so the same fields are set here.
        found.dataset = {
            "images": coco["images"],
            "categories": coco["categories"],
            "annotations": [
                {**d, "id": i, "iscrowd": 0, "area": d["bbox"][2] * d["bbox"][3]} for i, d in enumerate(detections, 1)
            ],
        }
        truth.createIndex()
        found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.imgIds = sorted(image["id"] for image in coco["images"])
        evaluation.params.catIds = sorted(category["id"] for category in coco["categories"])
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # precision: [IoU thresholds, recall points, classes, areas, detection limits]; -1 where there is no box
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    counts = dict.fromkeys(evaluation.params.catIds, 0)
    for annotation in coco["annotations"]:
        counts[annotation["category_id"]] += not annotation["iscrowd"]
    names = {category["id"]: category["name"] for category in coco["categories"]}
    per_class = [
        {
            "name": names[category],
            "AP": _mean(precision[:, :, k]),
            "AP50": _mean(precision[0, :, k]),
            "boxes": counts[category],
        }
        for k, category in enumerate(evaluation.params.catIds)
    ]
    stats = {name: _or_none(value) for name, value in zip(STATS, evaluation.stats, strict=True)}
    return {**stats, "per_class": per_class}


def _mean(values: Any) -> float | None:
    valid = values[values > -1]
    return float(np.mean(valid)) if valid.size else None


def _or_none(value: float) -> float | None:
    return float(value) if value > -1 else None
