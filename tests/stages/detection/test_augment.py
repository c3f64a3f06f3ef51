"""Augmentations keep boxes on their objects."""

from __future__ import annotations

import numpy as np
import pytest

from stages.detection.augment import Augmentation, Boxes, expand, flip_horizontally, jitter_colors, random_crop
from stages.detection.images import Image


def scene() -> tuple[Image, Boxes, np.ndarray]:
    """A grey image with one bright rectangle per box."""
    image = np.full((60, 80, 3), 20, np.uint8)
    boxes = np.array([[10, 5, 30, 25], [50, 30, 70, 55]], np.float32)
    for x1, y1, x2, y2 in boxes.astype(int):
        image[y1:y2, x1:x2] = 250
    return image, boxes, np.array([0, 1], np.int32)


def bright_inside(image: Image, box: np.ndarray) -> float:
    x1, y1, x2, y2 = np.rint(box).astype(int)
    return float((image[y1:y2, x1:x2] > 200).mean())


def test_flip() -> None:
    image, boxes, _ = scene()
    mirrored, moved = flip_horizontally(image, boxes)
    assert moved.tolist() == [[50, 5, 70, 25], [10, 30, 30, 55]]
    assert all(bright_inside(mirrored, box) == 1 for box in moved)
    back, again = flip_horizontally(mirrored, moved)
    np.testing.assert_array_equal(back, image)
    np.testing.assert_array_equal(again, boxes)


@pytest.mark.parametrize("seed", range(20))
def test_expand_and_crop_move_boxes_with_the_pixels(seed: int) -> None:
    image, boxes, classes = scene()
    larger, moved = expand(image, boxes, np.random.default_rng(seed))
    assert larger.shape[0] >= image.shape[0] and larger.shape[1] >= image.shape[1]
    assert all(bright_inside(larger, box) == 1 for box in moved)
    part, cut, kept = random_crop(image, boxes, classes, np.random.default_rng(seed))
    assert len(cut) == len(kept) >= 1
    height, width = part.shape[:2]
    assert (cut >= 0).all() and (cut <= [width, height, width, height]).all()
    assert all(bright_inside(part, box) == 1 for box in cut)
    assert height * width >= 0.25 * image.shape[0] * image.shape[1]


def test_crop_of_an_image_without_boxes() -> None:
    image, _, _ = scene()
    none = np.zeros((0, 4), np.float32)
    part, boxes, classes = random_crop(image, none, np.zeros(0, np.int32), np.random.default_rng(0))
    assert part.size < image.size
    assert boxes.shape == (0, 4) and classes.shape == (0,)


def test_colours_change_but_not_the_picture() -> None:
    image, _, _ = scene()
    changed = [jitter_colors(image, np.random.default_rng(s)) for s in range(10)]
    assert all(c.shape == image.shape and c.dtype == np.uint8 for c in changed)
    assert sum(bool((c != image).any()) for c in changed) >= 9
    assert all(c[10, 20].astype(int).sum() > c[0, 0].astype(int).sum() + 100 for c in changed), "bright stays bright"


def test_each_probability_is_honoured() -> None:
    image, boxes, classes = scene()

    def share(augmentation: Augmentation) -> float:
        rng = np.random.default_rng(3)
        changed = 0
        for _ in range(400):
            out, _, _ = augmentation(image, boxes, classes, rng)
            changed += out.shape != image.shape or bool((out != image).any())
        return changed / 400

    assert share(Augmentation(flip=0, color_jitter=0, crop=0)) == 0
    assert share(Augmentation(flip=0.3, color_jitter=0, crop=0)) == pytest.approx(0.3, abs=0.08)
    assert share(Augmentation(flip=0, color_jitter=0.6, crop=0)) == pytest.approx(0.6, abs=0.08)
    assert share(Augmentation(flip=0, color_jitter=0, crop=0.4)) == pytest.approx(0.4, abs=0.08)


def test_the_arguments_are_left_alone() -> None:
    image, boxes, classes = scene()
    copies = image.copy(), boxes.copy(), classes.copy()
    for seed in range(10):
        Augmentation(1, 1, 1)(image, boxes, classes, np.random.default_rng(seed))
    for before, after in zip(copies, (image, boxes, classes), strict=True):
        np.testing.assert_array_equal(before, after)
