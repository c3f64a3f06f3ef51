"""A validation set of COCO's size as arrays: 5000 images, 80 classes, 36 781 boxes, 300 detections per image."""

from __future__ import annotations

import numpy as np

from stages.detection.matching import Detections, Truth

IMAGES, CLASSES, BOXES, FOUND = 5000, 80, 36_781, 300


def truth(seed: int = 0) -> Truth:
    """Labels: a few frequent classes and many rare ones, sizes from 8 to 400 pixels, one box in a hundred a crowd."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, CLASSES + 1)
    size = np.exp(rng.uniform(np.log(8), np.log(400), (BOXES, 2)))
    box = np.concatenate([rng.uniform(0, 640 - 8, (BOXES, 2)), size], axis=1).round(2)
    return Truth(
        image_ids=list(range(IMAGES)),
        category_ids=list(range(CLASSES)),
        image=rng.integers(0, IMAGES, BOXES).astype(np.int32),
        category=rng.choice(CLASSES, BOXES, p=share / share.sum()).astype(np.int32),
        box=box,
        area=box[:, 2] * box[:, 3] * 0.7,
        crowd=rng.random(BOXES) < 0.01,
    )


def detections(labels: Truth, quality: float, seed: int = 1) -> Detections:
    """Two detections near each box, the better of which mostly hits, and false alarms up to 300 per image."""
    rng = np.random.default_rng(seed)
    near = np.repeat(np.arange(BOXES), 2)
    size = labels.box[near, 2:]
    moved = labels.box[near] + rng.normal(0, 0.12 / quality, (near.size, 4)) * np.concatenate([size, size], axis=1)
    alarms = IMAGES * FOUND - near.size
    own = rng.integers(0, BOXES, alarms)  # most alarms are of a class that the image has somewhere
    elsewhere = np.concatenate(
        [rng.uniform(0, 600, (alarms, 2)), np.exp(rng.uniform(np.log(8), np.log(400), (alarms, 2)))], axis=1
    )
    category = np.where(rng.random(alarms) < 0.5, labels.category[own], rng.integers(0, CLASSES, alarms))
    return Detections(
        np.concatenate([labels.image[near], labels.image[own]]),
        np.concatenate([labels.category[near], category]).astype(np.int32),
        np.concatenate([rng.beta(3, 2, near.size), rng.beta(1, 12, alarms)]).round(6),
        np.concatenate([moved, elsewhere]).round(2).clip(1),
    )
