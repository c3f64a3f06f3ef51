"""A drawn detection problem: five kinds of shapes on textured, noisy ground, labelled in COCO's form.

Each image has a random stream of its own, seeded with (seed, split, number): the same seed gives the same pixels,
and no two splits share an image. Textures use integer arithmetic only, so that no CPU's float path changes a pixel.

The demo's checkpoint was trained on these images: a change here makes it stale (a test pins a digest).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.detection.images import Image

LABELS: tuple[str, ...] = ("circle", "square", "triangle", "star", "ring")
SPLITS: tuple[str, ...] = ("train", "unlabeled", "val")

Mask = npt.NDArray[np.uint8]

EMPTY_SHARE = 0.08  # images without any shape
MIN_VISIBLE = 0.55  # share of a shape that later shapes have to leave visible
MIN_CONTRAST = 70  # sum over channels of the difference between a shape's colour and the ground under it


@dataclass(frozen=True)
class Box:
    """A labelled shape: index into ``LABELS`` and x, y, width, height in pixels."""

    label: int
    x: int
    y: int
    width: int
    height: int


def draw_image(seed: int, split: str, number: int, height: int, width: int) -> tuple[Image, list[Box]]:
    """Image ``number`` of a split: BGR uint8 [height, width, 3] and its boxes (of the whole shape inside the frame)."""
    rng = np.random.default_rng([seed, SPLITS.index(split), number])
    canvas = _ground(rng, height, width)
    boxes: list[Box] = []
    if rng.random() >= EMPTY_SHARE:
        owners = np.zeros((height, width), np.uint8)  # which shape a pixel shows: 0 the ground, i the i-th shape
        sizes: list[int] = []
        for _ in range(int(rng.integers(1, 8))):
            _place(rng, canvas, owners, sizes, boxes)
    _clutter(rng, canvas)
    noise = rng.integers(-18, 19, canvas.shape, dtype=np.int16)
    return np.clip(canvas.astype(np.int16) + noise, 0, 255).astype(np.uint8), boxes


def _ground(rng: np.random.Generator, height: int, width: int) -> Image:
    """Patches of similar colours in blocks of random size, with a slope of brightness over the image."""
    base = rng.integers(40, 216, 3)
    cell = int(rng.integers(4, 33))
    rows, columns = -(-height // cell), -(-width // cell)
    spread = int(rng.integers(4, 25))
    coarse = base + rng.integers(-spread, spread + 1, (rows, columns, 3))
    ground = coarse.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width]
    slope = rng.integers(-30, 31, 2)
    y = np.arange(height, dtype=np.int64)[:, None] * slope[0] // height
    x = np.arange(width, dtype=np.int64)[None, :] * slope[1] // width
    ground = np.clip(ground + (y + x)[..., None], 0, 255)
    return np.asarray(ground, np.uint8)


def _clutter(rng: np.random.Generator, canvas: Image) -> None:
    """Thin lines across everything: they look like edges but belong to no shape."""
    import cv2

    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(0, 5))):
        start = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        end = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.line(canvas, start, end, [int(v) for v in rng.integers(0, 256, 3)], 1)


def _place(rng: np.random.Generator, canvas: Image, owners: Mask, sizes: list[int], boxes: list[Box]) -> None:
    """Draw one more shape where it hides no earlier one too much; after a few attempts, draw none."""
    height, width = owners.shape
    side = min(height, width)
    for _ in range(8):
        label = int(rng.integers(0, len(LABELS)))
        # Uniform in the logarithm: as many small shapes as large ones.
        radius = round(side * 0.045 * 5.0 ** rng.random())
        centre = (
            int(rng.integers(radius // 2, width - radius // 2)),
            int(rng.integers(radius // 2, height - radius // 2)),
        )
        mask = _mask(rng, label, centre, radius, height, width)
        inside = mask > 0
        area = int(inside.sum())
        counts = np.bincount(owners[inside], minlength=len(sizes) + 1)[1:]
        visible = np.bincount(owners.ravel(), minlength=len(sizes) + 1)[1:]
        hides_too_much = any(v - c < MIN_VISIBLE * size for v, c, size in zip(visible, counts, sizes, strict=True))
        if area < 40 or hides_too_much:
            continue
        under = canvas[inside].mean(axis=0, dtype=np.float64).round().astype(np.int64)
        colour = rng.integers(0, 256, 3)
        if int(np.abs(colour - under).sum()) < MIN_CONTRAST:
            continue
        _fill(rng, canvas, inside, colour)
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        x, y = int(columns[0]), int(rows[0])
        boxes.append(Box(label, x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1))
        sizes.append(area)
        owners[inside] = len(sizes)
        return


def _fill(
    rng: np.random.Generator, canvas: Image, inside: npt.NDArray[np.bool_], colour: npt.NDArray[np.int64]
) -> None:
    """Fill a mask with a colour, every third time with stripes in a second shade."""
    canvas[inside] = colour
    if rng.random() < 0.33:
        period = int(rng.integers(4, 11))
        y, x = np.indices(inside.shape)
        stripes = ((x + y) // period) % 2 == 0
        shade = np.clip(colour + rng.integers(-50, 51, 3), 0, 255)
        canvas[inside & stripes] = shade


def _mask(rng: np.random.Generator, label: int, centre: tuple[int, int], radius: int, height: int, width: int) -> Mask:
    """255 where the shape is."""
    import cv2

    mask = np.zeros((height, width), np.uint8)
    name = LABELS[label]
    turn = int(rng.integers(0, 360))
    if name == "circle":
        cv2.circle(mask, centre, radius, 255, -1)
    elif name == "ring":
        cv2.circle(mask, centre, radius, 255, -1)
        cv2.circle(mask, centre, max(2, radius * int(rng.integers(45, 66)) // 100), 0, -1)
    else:
        corners = {"square": 4, "triangle": 3, "star": 10}[name]
        angles = np.deg2rad(turn + np.arange(corners) * 360 / corners)
        reach = np.full(corners, float(radius))
        if name == "star":
            reach[1::2] *= 0.45
        points = np.stack([centre[0] + reach * np.cos(angles), centre[1] + reach * np.sin(angles)], axis=1)
        cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 255)
    return mask
