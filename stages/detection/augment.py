"""Augmentations of a training image and its boxes; each is drawn from the random stream it is given.

Boxes are float32 [n, 4] as (x1, y1, x2, y2) in pixels of the image they belong to, classes int32 [n].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.detection.images import Image

Boxes = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int32]

MIN_VISIBLE = 0.3  # a box of which less than this share is left by a crop is dropped
FILL = (104, 116, 124)  # BGR of the border of a shrunk image: ImageNet's mean colour
CROP_ATTEMPTS = 10


@dataclass(frozen=True)
class Augmentation:
    """Probabilities of the augmentations; zero everywhere gives the image as it is."""

    flip: float = 0.5
    color_jitter: float = 0.4
    crop: float = 0.5

    def __call__(
        self, image: Image, boxes: Boxes, classes: Classes, rng: np.random.Generator
    ) -> tuple[Image, Boxes, Classes]:
        """An augmented copy; the arguments are left as they are."""
        # All decisions are drawn first, so that one probability does not shift the stream of the others.
        jitter, crop, flip, outwards = rng.random(4)
        if jitter < self.color_jitter:
            image = jitter_colors(image, rng)
        if crop < self.crop:
            if outwards < 0.5:
                image, boxes = expand(image, boxes, rng)
            else:
                image, boxes, classes = random_crop(image, boxes, classes, rng)
        if flip < self.flip:
            image, boxes = flip_horizontally(image, boxes)
        return image, boxes, classes


def flip_horizontally(image: Image, boxes: Boxes) -> tuple[Image, Boxes]:
    """Mirror left and right."""
    width = image.shape[1]
    mirrored = boxes.copy()
    mirrored[:, 0], mirrored[:, 2] = width - boxes[:, 2], width - boxes[:, 0]
    return np.ascontiguousarray(image[:, ::-1]), mirrored


def jitter_colors(image: Image, rng: np.random.Generator) -> Image:
    """Brightness, contrast, saturation and hue, each by a random amount."""
    import cv2

    hue, saturation = rng.uniform(-9.0, 9.0), rng.uniform(0.6, 1.4)
    contrast, brightness = rng.uniform(0.7, 1.3), rng.uniform(-30.0, 30.0)
    levels = np.arange(256, dtype=np.float32)
    # OpenCV's 8-bit hue runs over 180 values.
    tables = np.stack([(levels + hue) % 180, np.clip(levels * saturation, 0, 255), levels], axis=-1)
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), tables[None].astype(np.uint8))
    toned = np.clip((levels - 128) * contrast + 128 + brightness, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), toned), np.uint8)


def expand(image: Image, boxes: Boxes, rng: np.random.Generator) -> tuple[Image, Boxes]:
    """Put the image somewhere on a larger plain one (up to twice each side): objects become smaller."""
    height, width = image.shape[:2]
    factor = rng.uniform(1.0, 2.0)
    canvas = np.empty((round(height * factor), round(width * factor), 3), np.uint8)
    canvas[:] = FILL
    top = int(rng.integers(0, canvas.shape[0] - height + 1))
    left = int(rng.integers(0, canvas.shape[1] - width + 1))
    canvas[top : top + height, left : left + width] = image
    return canvas, boxes + np.array([left, top, left, top], np.float32)


def random_crop(image: Image, boxes: Boxes, classes: Classes, rng: np.random.Generator) -> tuple[Image, Boxes, Classes]:
    """A random part of at least 0.3 of the area: objects become larger, some are cut or lost.

    A crop that would lose every box is drawn again; after a few attempts the image stays whole.
    """
    height, width = image.shape[:2]
    for _ in range(CROP_ATTEMPTS):
        area, stretch = rng.uniform(0.3, 1.0), np.exp(rng.uniform(-0.3, 0.3))
        crop_h = min(height, max(1, round(height * float(np.sqrt(area) * stretch))))
        crop_w = min(width, max(1, round(width * float(np.sqrt(area) / stretch))))
        top, left = int(rng.integers(0, height - crop_h + 1)), int(rng.integers(0, width - crop_w + 1))
        moved = boxes - np.array([left, top, left, top], np.float32)
        clipped = np.clip(moved, 0, np.array([crop_w, crop_h, crop_w, crop_h], np.float32))
        whole, left_over = _areas(boxes), _areas(clipped)
        keep = left_over > np.maximum(MIN_VISIBLE * whole, 0)
        if keep.any() or not len(boxes):
            part = np.ascontiguousarray(image[top : top + crop_h, left : left + crop_w])
            return part, clipped[keep], classes[keep]
    return image, boxes, classes


def _areas(boxes: Boxes) -> Boxes:
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    return np.asarray(sides[:, 0] * sides[:, 1], np.float32)
