"""Random labels and detections in which everything that COCO's rules speak of occurs."""

from __future__ import annotations

from typing import Any

import numpy as np


def random_set(
    seed: int, *, images: int = 20, classes: int = 4, most: int = 8, crowds: float = 0.1, alarms: int = 6
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(COCO labels, COCO results): boxes of all sizes, crowds, ties of score and of IoU, images and classes without."""
    rng = np.random.default_rng(seed)
    image_ids = sorted(rng.choice(10 * images, images, replace=False).tolist())
    category_ids = sorted(rng.choice(90, classes, replace=False).tolist())
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in image_ids:
        for _ in range(int(rng.integers(0, most + 1))):
            category = int(category_ids[int(rng.integers(0, max(1, classes - 1)))])  # the last class has no box
            size = np.exp(rng.uniform(np.log(8), np.log(300), 2)).round(1)
            x, y = rng.uniform(0, 300, 2).round(1)
            box = [float(v) for v in (x, y, *size)]
            crowd = int(rng.random() < crowds)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": category, "bbox": box,
                 "area": float(size[0] * size[1] * rng.uniform(0.5, 1)), "iscrowd": crowd}
            )  # fmt: skip
            for _ in range(int(rng.integers(0, 4))):
                moved = np.array(box) + rng.normal(0, 0.08, 4) * np.array([*size, *size]) * (rng.random() < 0.8)
                results.append(_result(image, category, moved, rng))
        for _ in range(int(rng.integers(0, alarms + 1))):
            category = int(rng.choice(category_ids))
            results.append(_result(image, category, rng.uniform(5, 200, 4), rng))
    coco = {
        "images": [{"id": i} for i in image_ids],
        "annotations": annotations,
        "categories": [{"id": c, "name": f"class {c}"} for c in category_ids],
    }
    order = rng.permutation(len(results))
    return coco, [results[i] for i in order]


def _result(image: int, category: int, box: Any, rng: np.random.Generator) -> dict[str, Any]:
    # One decimal: many detections share a score.
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [float(max(v, 1)) for v in box],
        "score": float(rng.random().__round__(1)),
    }
