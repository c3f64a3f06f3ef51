"""Labels and detections of a detector that there is not, with scores as those of one look."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from stages.detection.matching import Detections, Matches, Truth, match

Floats = npt.NDArray[np.float64]


def scene(seed: int, *, images: int = 60, boxes: int = 6, classes: int = 1) -> tuple[Truth, Detections]:
    """Boxes far from each other, nine in ten of them found, and false alarms elsewhere, with lower scores as a rule."""
    rng = np.random.default_rng(seed)
    image, category, place = (grid.ravel() for grid in np.mgrid[:images, :classes, : 2 * boxes])
    box = np.stack([place * 50.0, category * 50.0, np.full(place.size, 40.0), np.full(place.size, 40.0)], axis=1)
    labelled = place < boxes
    found = np.where(labelled, rng.random(place.size) < 0.9, rng.random(place.size) < 0.6)
    score = np.where(labelled, rng.beta(5, 2, place.size), rng.beta(2, 4, place.size)).round(6)
    image, category = image.astype(np.int32), category.astype(np.int32)
    count = int(labelled.sum())
    truth = Truth(
        list(range(images)), list(range(classes)), image[labelled], category[labelled], box[labelled],
        np.full(count, 1600.0), np.zeros(count, np.bool_),
    )  # fmt: skip
    return truth, Detections(image[found], category[found], score[found], box[found])


def rescored(found: Detections, change: Callable[[Floats], Floats]) -> Detections:
    """The same boxes with other scores."""
    return Detections(found.image, found.category, change(found.score).round(6), found.box)


def both(
    seed: int, change: Callable[[Floats], Floats], *, images: int = 60, boxes: int = 6, classes: int = 1
) -> tuple[Matches, Matches]:
    """FP32's matches, and those of an engine that finds the same with other scores."""
    truth, found = scene(seed, images=images, boxes=boxes, classes=classes)
    return match(truth, found), match(truth, rescored(found, change))
