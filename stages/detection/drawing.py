"""Boxes and labels drawn into a picture: as thick and as large as the picture asks for, no label on top of another."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2

from stages.detection.images import Image

Colour = tuple[int, int, int]
"""Blue, green, red."""
Rectangle = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPITAL = 22.0  # pixels that a capital letter of the font is high at scale 1
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Box:
    """A box and what stands beside it; without a text, the box alone."""

    corners: Rectangle
    colour: Colour
    text: str = ""


@dataclass(frozen=True)
class Pen:
    """Line width in pixels, the scale of OpenCV's font, and the width of its strokes."""

    line: int
    font: float
    stroke: int

    @staticmethod
    def of(picture: Image) -> Pen:
        """For a picture [height, width, channels]: letters are a fiftieth of its side, and at least eight pixels."""
        side = math.sqrt(picture.shape[0] * picture.shape[1])
        font = max(8.0, side / 50) / _CAPITAL
        return Pen(max(1, round(side / 350)), font, max(1, round(1.4 * font)))


def class_colour(number: int) -> Colour:
    """The colour of a class: neighbouring numbers are far apart on the wheel, and no two of the first hundred alike."""
    hue = (0.6 + number * _GOLDEN) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.85, 0.6)[number // 8 % 2], (0.85, 0.65)[number // 16 % 2])
    return round(255 * blue), round(255 * green), round(255 * red)


def draw_boxes(picture: Image, boxes: Sequence[Box]) -> None:
    """Draw into ``picture``; boxes that come first are on top, and choose first where their labels stand.

    A label that finds no free place near its box is left out.
    """
    pen = Pen.of(picture)
    for box in reversed(boxes):
        x1, y1, x2, y2 = box.corners
        cv2.rectangle(picture, (x1, y1), (x2, y2), box.colour, pen.line)
    for box, place in zip(boxes, label_places(picture, boxes, pen), strict=True):
        if place is not None:
            _label(picture, box, place, pen)


def label_places(picture: Image, boxes: Sequence[Box], pen: Pen) -> list[Rectangle | None]:
    """Where each box's label stands: inside of the picture, and none on another."""
    height, width = picture.shape[:2]
    taken: list[Rectangle] = []
    places: list[Rectangle | None] = []
    for box in boxes:
        place = None
        if box.text:
            size = _size(box.text, pen)
            free = (spot for spot in _spots(box.corners, size, width, height) if not any(_meet(spot, t) for t in taken))
            place = next(free, None)
        if place is not None:
            taken.append(place)
        places.append(place)
    return places


def _size(text: str, pen: Pen) -> tuple[int, int]:
    (width, height), base = cv2.getTextSize(text, _FONT, pen.font, pen.stroke)
    return width + 4, height + base + 2


def _spots(corners: Rectangle, size: tuple[int, int], width: int, height: int) -> Iterator[Rectangle]:
    """Places for a label, the best first: at the box's edges, then further and further from its upper one."""
    x1, y1, x2, y2 = corners
    wide, high = size
    if wide > width or high > height:
        return
    starts = [(x1, y1 - high), (x1, y1), (x2 - wide, y1 - high), (x1, y2), (x2 - wide, y2), (x1, y2 - high), (x2, y1)]
    for step in range(1, 5):
        starts += [(x1, y1 - high - step * high), (x1, y1 + step * high), (x2, y1 + step * high),
                   (x1 - wide, y1 + (step - 1) * high)]  # fmt: skip
    for x, y in starts:
        left, top = min(max(x, 0), width - wide), min(max(y, 0), height - high)
        yield left, top, left + wide, top + high


def _meet(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _label(picture: Image, box: Box, place: Rectangle, pen: Pen) -> None:
    left, top, right, bottom = place
    _, base = cv2.getTextSize(box.text, _FONT, pen.font, pen.stroke)
    cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), box.colour, cv2.FILLED)
    blue, green, red = box.colour
    ink = (255, 255, 255) if 0.114 * blue + 0.587 * green + 0.299 * red < 150 else (20, 20, 20)
    cv2.putText(picture, box.text, (left + 2, bottom - base - 1), _FONT, pen.font, ink, pen.stroke, cv2.LINE_AA)
    if not _meet(place, _grown(box.corners)):  # it was moved away: a line says whose it is
        ends = (min(max(box.corners[0], left), right), top if box.corners[1] < top else bottom)
        cv2.line(picture, ends, (box.corners[0], box.corners[1]), box.colour, 1, cv2.LINE_AA)


def _grown(corners: Rectangle) -> Rectangle:
    return corners[0] - 2, corners[1] - 2, corners[2] + 2, corners[3] + 2
