"""Our matching against pycocotools: the same numbers, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.accuracy.pycocotools_check import score
from stages.detection.average_precision import STATS, summarize
from stages.detection.matching import Detections, Matches, Truth, match
from tests.stages.detection.coco_sets import random_set


def ours(coco: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, Any]:
    truth = Truth.from_coco(coco)
    return summarize(match(truth, Detections.from_coco(results, truth)))


def check(coco: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, Any]:
    found, expected = ours(coco, results), score(coco, results)
    assert {name: found[name] for name in STATS} == {name: expected[name] for name in STATS}
    assert found["per_class_ap"] == [c["AP"] for c in expected["per_class"]]
    assert found["per_class_ap50"] == [c["AP50"] for c in expected["per_class"]]
    assert found["per_class_boxes"] == [c["boxes"] for c in expected["per_class"]]
    return found


@pytest.mark.parametrize("seed", range(12))
def test_random_sets_score_as_in_pycocotools(seed: int) -> None:
    found = check(*random_set(seed))
    assert 0 < found["AP"] < 1


def test_many_detections_of_one_class_are_cut_at_a_hundred() -> None:
    coco, results = random_set(1, images=3, classes=1, most=20, alarms=300)
    assert len(results) > 300
    check(coco, results)


def test_overlapping_boxes_and_crowds() -> None:
    """Boxes that nearly coincide: which one is taken decides over the rest."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        coco, results = random_set(seed, images=4, classes=2, most=3, crowds=0.4)
        first = [a["bbox"] for a in coco["annotations"]]
        for a in coco["annotations"]:
            a["bbox"] = (np.array(first[int(rng.integers(len(first)))]) + rng.integers(-4, 5, 4)).clip(2).tolist()
        for r in results:
            r["bbox"] = (np.array(first[int(rng.integers(len(first)))]) + rng.integers(-4, 5, 4)).clip(2).tolist()
        check(coco, results)


def test_without_boxes_or_without_detections() -> None:
    coco, results = random_set(3)
    assert check(coco, [])["AP"] == 0
    assert check({**coco, "annotations": []}, results)["AP"] is None
    assert check({**coco, "annotations": []}, [])["AP"] is None


def test_photographs_with_disturbed_labels(bccd: Path) -> None:
    coco = json.loads((bccd / "val.json").read_text())
    rng = np.random.default_rng(0)
    results = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "score": float(rng.random()),
         "bbox": [float(v) for v in np.array(a["bbox"]) * (1 + rng.normal(0, 0.06, 4))]}
        for a in coco["annotations"] for _ in range(3)
    ]  # fmt: skip
    assert 0.1 < check(coco, results)["AP"] < 0.9


def test_matches_are_kept_and_read_back(tmp_path: Path) -> None:
    coco, results = random_set(5)
    truth = Truth.from_coco(coco)
    made = match(truth, Detections.from_coco(results, truth))
    made.save(tmp_path / "matches.npz")
    again = Matches.load(tmp_path / "matches.npz")
    assert summarize(again) == summarize(made)
    assert (again.images, again.categories) == (made.images, made.categories)
    # A detection that took a box at IoU 0.5 names it, and no box is named twice.
    taken = made.box[made.box >= 0]
    assert len(set(taken.tolist())) == taken.size == np.count_nonzero(made.hit[0] & 1)
    of_source = np.array([r["score"] for r in results])[made.source]
    assert np.array_equal(of_source, made.score)
