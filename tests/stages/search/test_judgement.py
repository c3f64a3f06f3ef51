"""Drops with their intervals, and how many images would say more."""

from __future__ import annotations

import numpy as np
import pytest

from stages.detection.matching import Truth, match
from stages.detection.results import gather
from stages.errors import StageError
from stages.search.judgement import (
    DISTANCE,
    Judgement,
    images_to_hold,
    images_to_tell,
    judge_distance,
    judge_map,
)

BOX = [10.0, 10.0, 20.0, 20.0]


def matches(found: int, images: int = 40, *, boxes: int = 1) -> object:
    """One box an image, found in the first ``found`` images."""
    coco = {
        "images": [{"id": i, "width": 64, "height": 64} for i in range(images)],
        "annotations": [
            {"id": i + 1, "image_id": i, "category_id": 1, "bbox": BOX, "area": 400.0, "iscrowd": 0}
            for i in range(images * boxes)
        ],
        "categories": [{"id": 1, "name": "x"}],
    }
    row = np.array([[0, 0.9, 10.0, 10.0, 30.0, 30.0]], np.float32)
    truth = Truth.from_coco(coco)
    return match(truth, gather([(i, row) for i in range(found)], truth, [1]))


def test_a_drop_lies_in_its_interval_and_a_narrower_one_with_more_images() -> None:
    few = judge_map(matches(20, 20), matches(18, 20), 10.0, 20, 0)
    many = judge_map(matches(200, 200), matches(180, 200), 10.0, 200, 0)
    assert few.low < 10.0 < few.high
    assert many.high - many.low < (few.high - few.low) / 2


def test_two_engines_that_find_the_same_differ_by_nothing() -> None:
    same = judge_map(matches(30), matches(30), 0.0, 40, 0)
    assert (same.low, same.high, same.zero) == (0.0, 0.0, True)
    assert same.holds(0.1)
    assert images_to_tell(same) is None


def test_images_without_boxes_give_no_interval() -> None:
    empty = matches(0, boxes=0)
    with pytest.raises(StageError, match="judge_images"):
        judge_map(empty, empty, 0.0, 40, 0)


def test_the_distance_is_that_of_the_mean_image() -> None:
    judged = judge_distance([0.1, 0.3] * 50, 0)
    assert (judged.drop, judged.images, judged.unit) == (pytest.approx(0.2), 100, DISTANCE)
    assert judged.low == pytest.approx(0.2 - 1.96 * 0.01, abs=0.006)
    assert judged.high == pytest.approx(0.2 + 1.96 * 0.01, abs=0.006)


def test_four_times_the_images_halve_an_interval() -> None:
    judged = Judgement(0.2, -0.2, 0.6, 100)
    assert images_to_tell(judged) == 400
    assert images_to_hold(judged, 0.4) == 400
    assert images_to_hold(judged, 0.7) is None
    assert images_to_hold(judged, 0.1) is None
    assert images_to_tell(Judgement(0.2, 0.1, 0.3, 100)) is None


def test_a_gain_is_told_apart_by_its_upper_bound() -> None:
    assert images_to_tell(Judgement(-0.2, -0.9, 0.2, 100)) == 400
