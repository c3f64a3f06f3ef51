"""Boxes and labels: as large as the picture asks for, and none on another."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from stages.detection.drawing import Box, Pen, class_colour, draw_boxes, label_places


def blank(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_no_label_covers_another_or_leaves_the_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = blank(360, 480)
    boxes = []
    for number in range(40):
        x, y = rng.integers(-20, 440), rng.integers(-20, 320)
        boxes.append(Box((int(x), int(y), int(x + 60), int(y + 60)), class_colour(number), f"label {number} 0.5"))
    placed = [place for place in label_places(picture, boxes, Pen.of(picture)) if place is not None]
    assert len(placed) > 20
    for a, b in itertools.combinations(placed, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    assert all(0 <= x1 < x2 <= 480 and 0 <= y1 < y2 <= 360 for x1, y1, x2, y2 in placed)


def test_the_first_box_gets_the_place_above_it_and_the_same_box_another() -> None:
    picture = blank(200, 200)
    boxes = [Box((50, 60, 120, 150), (0, 0, 255), "one"), Box((50, 60, 120, 150), (0, 255, 0), "two"),
             Box((0, 0, 20, 20), (1, 1, 1))]  # fmt: skip
    first, second, none = label_places(picture, boxes, Pen.of(picture))
    assert first is not None and first[0] == 50 and first[3] == 60
    assert second is not None and second != first and none is None


def test_lines_and_letters_grow_with_the_picture() -> None:
    small, medium, large = (Pen.of(blank(side, side)) for side in (160, 640, 2560))
    assert small.line == 1 and small.font < medium.font < large.font and medium.line < large.line
    assert large.font / medium.font == pytest.approx(4)
    assert small.font * 22 >= 7.9  # a letter of less than eight pixels is not read


def test_classes_have_colours_of_their_own() -> None:
    colours = [class_colour(number) for number in range(80)]
    assert len(set(colours)) == 80
    apart = [sum(abs(a - b) for a, b in zip(x, y, strict=True)) for x, y in itertools.pairwise(colours[:8])]
    assert min(apart) > 100


def test_boxes_are_drawn_in_their_colour() -> None:
    picture = blank(100, 100)
    draw_boxes(picture, [Box((20, 40, 80, 90), (10, 200, 30), "")])
    assert picture[65, 20].tolist() == [10, 200, 30] and picture[65, 50].tolist() == [0, 0, 0]
