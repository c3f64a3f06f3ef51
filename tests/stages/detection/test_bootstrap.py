"""The bootstrap: each draw scores as the images drawn would, and its intervals cover what they should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stages.accuracy.pycocotools_check import score
from stages.detection.average_precision import summarize
from stages.detection.bootstrap import draw_weights, interval, mean_over_classes, resample
from stages.detection.matching import Detections, Matches, Truth, match
from tests.stages.detection.coco_sets import random_set


def matched(coco: dict[str, Any], results: list[dict[str, Any]]) -> Matches:
    truth = Truth.from_coco(coco)
    return match(truth, Detections.from_coco(results, truth))


@pytest.mark.parametrize("seed", range(4))
def test_weights_of_one_are_the_set_itself(seed: int) -> None:
    matches = matched(*random_set(seed))
    expected = summarize(matches)
    found = mean_over_classes(resample(matches, np.ones((1, matches.images), np.int32)))[0]
    assert found[0].tolist() == pytest.approx([expected[k] for k in ("AP", "AP50", "AP75")], abs=1e-12)
    assert found[1:, 0].tolist() == pytest.approx(
        [expected[f"AP_{k}"] for k in ("small", "medium", "large")], abs=1e-12
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_draw_scores_as_a_set_of_the_drawn_images_would(seed: int) -> None:
    coco, results = random_set(seed, images=12)
    rng = np.random.default_rng(seed)
    for result in results:
        result["score"] = float(rng.random())  # no ties: their order is the one thing that copies of an image change
    weights = draw_weights(12, 3, seed)
    found = mean_over_classes(resample(matched(coco, results), weights, threads=2))
    for draw, row in zip(weights, found, strict=True):
        expected = score(*copied(coco, results, draw.tolist()))
        assert row[0].tolist() == pytest.approx([expected[k] for k in ("AP", "AP50", "AP75")], abs=1e-9)
        sizes = [expected[f"AP_{k}"] for k in ("small", "medium", "large")]
        assert row[1:, 0].tolist() == pytest.approx([np.nan if s is None else s for s in sizes], abs=1e-9, nan_ok=True)


def copied(
    coco: dict[str, Any], results: list[dict[str, Any]], counts: list[int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The set in which image i occurs ``counts[i]`` times; equal scores of copies are told apart by a hair."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, count in zip(sorted(i["id"] for i in coco["images"]), counts, strict=True):
        for _ in range(count):
            new = len(images) + 1
            images.append({"id": new})
            for a in coco["annotations"]:
                if a["image_id"] == image:
                    annotations.append({**a, "id": len(annotations) + 1, "image_id": new})
            found += [{**r, "image_id": new, "score": r["score"]} for r in results if r["image_id"] == image]
    return {**coco, "images": images, "annotations": annotations}, found


def test_draws_are_of_the_size_of_the_set_and_repeatable() -> None:
    weights = draw_weights(50, 20, 3)
    assert weights.sum(axis=1).tolist() == [50] * 20
    assert np.array_equal(weights, draw_weights(50, 20, 3))
    assert not np.array_equal(weights, draw_weights(50, 20, 4))


def test_intervals() -> None:
    assert interval(np.arange(1001.0)) == pytest.approx((25, 975))
    assert interval(np.full(10, np.nan)) is None
    with_gaps = np.arange(1001.0)
    with_gaps[::5] = np.nan
    assert interval(with_gaps) == pytest.approx((25, 975), abs=2)


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says() -> None:
    """Two detectors that differ by known chances of finding a box, on many sets drawn from one distribution."""
    rng = np.random.default_rng(0)
    truth_of, covered = 0.8 - 0.7, 0  # every hit is exact, every score equal in rank: AP is the share found
    for _ in range(60):
        images, boxes = 60, 4
        difficulty = rng.random((images, boxes))
        image = np.repeat(np.arange(images), boxes).astype(np.int32)
        sets = []
        for chance in (0.7, 0.8):
            hit = (difficulty < chance).ravel()
            sets.append(simple(image, hit, images))
        weights = draw_weights(images, 300, 1)
        draws = mean_over_classes(resample(sets[1], weights) - resample(sets[0], weights))[:, 0, 0]
        low, high = interval(draws) or (0.0, 0.0)
        covered += low - 0.01 <= truth_of <= high + 0.01  # AP is read off at steps of 0.01 of recall
    assert covered >= 52


def simple(image: np.ndarray, hit: np.ndarray, images: int) -> Matches:
    """Matches of one class in which each detection hits at every threshold or was not made at all."""
    count, all_bits = int(hit.sum()), np.uint16(1023)
    areas = np.full((4, count), 0, np.uint16)
    return Matches(
        image_ids=np.arange(images), category_ids=np.array([1]), image=image[hit],
        category=np.zeros(count, np.int32), score=np.linspace(1, 0.5, count), rank=np.zeros(count, np.uint8),
        hit=areas + all_bits, ignored=areas, box=np.flatnonzero(hit).astype(np.int32),
        source=np.arange(count, dtype=np.int32), bbox=np.zeros((count, 4), np.float32),
        truth_image=image, truth_category=np.zeros(len(image), np.int32),
        truth_ignored=np.zeros((4, len(image)), np.bool_),
    )  # fmt: skip
