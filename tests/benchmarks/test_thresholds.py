"""What `make bench-thresholds` says, on scores that are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.accuracy.detections import Picture
from stages.thresholds.choosing import Seen
from stages.thresholds.images import Pictures
from tests.benchmarks import thresholds
from tests.stages.thresholds.scenes import both

NAMED = [("ant", 0.5), ("bee", 0.5)]
NUMBERS = {0: 0, 1: 1}


def test_shrunk_scores_lose_recall_until_the_thresholds_move_with_them() -> None:
    side = Seen(*both(1, lambda score: 0.8 * score, classes=2), NUMBERS)
    found = thresholds.points(side, NAMED, [0.4, 0.4])
    assert found["moved"] == found["precision"] == found["at_precision"] == pytest.approx(0, abs=1e-9)
    assert found["unmoved"] > 5
    assert thresholds.points(side, NAMED, [0.5, 0.5])["moved"] == found["unmoved"]


def test_a_threshold_that_stands_wrong_is_told_from_an_engine_that_finds_less() -> None:
    side = Seen(*both(1, lambda score: 0.8 * score, classes=2), NUMBERS)
    wrong = thresholds.points(side, NAMED, [0.3, 0.3])
    assert wrong["moved"] < -2 and wrong["precision"] > 2 and wrong["at_precision"] == pytest.approx(0, abs=1e-9)
    rng = np.random.default_rng(0)
    side = Seen(*both(1, lambda s: np.clip(s - 0.4 * (rng.random(s.size) < 0.3), 0.001, 1), classes=2), NUMBERS)
    assert thresholds.points(side, NAMED, [0.5, 0.5])["at_precision"] > 2


def test_only_the_scores_of_other_engines_are_shrunk() -> None:
    rows = np.array([[1, 0.5, 2, 3, 4, 5], [0, 0.25, 1, 1, 2, 2]])
    base, other = thresholds.shrunk([[(7, rows)], [(7, rows)]], 0.8)
    assert base[0][1] is rows and other[0][0] == 7
    assert other[0][1][:, 1].tolist() == [0.4, 0.2] and np.array_equal(other[0][1][:, 2:], rows[:, 2:])
    assert rows[0, 1] == 0.5


def test_a_copy_keeps_the_labels_and_takes_the_images_from_its_folder(tmp_path: Path) -> None:
    pictures = Pictures([(3, Picture("/data/val/a.b.jpg", "a.b.jpg"))], None, [0])
    copy = thresholds.copied(pictures, tmp_path)
    assert copy.listed == [(3, Picture(str(tmp_path / "val" / "a.b.png"), "a.b.jpg"))] and copy.categories == [0]


def copies(*moved: float, unmoved: float = 10.0) -> list[dict[str, dict[str, thresholds.Points]]]:
    return [
        {
            "plain": {"openvino": {"moved": 9.0, "unmoved": 9.0}},
            "shrunk": {"openvino": {"moved": one, "unmoved": unmoved}},
        }
        for one in moved
    ]


def test_it_is_within_by_the_mean_over_the_copies_of_shrunk_scores() -> None:
    run: dict[str, Any] = {"openvino": {}}
    said = thresholds.result(copies(0.2, 0.4, 0.6), run)
    assert said["within"] and said["run"] is run and said["copies"] == 3
    told = said["shrunk"]["openvino"]["moved"]
    assert told["mean"] == 0.4 and told["low"] < 0.2 and told["high"] > 0.6
    assert not thresholds.result(copies(0.2, 0.4, 1.2), run)["within"]
    assert not thresholds.result(copies(0.2, unmoved=0.1), run)["within"]
    assert "low" not in thresholds.result(copies(0.2), run)["shrunk"]["openvino"]["moved"]


def test_of_the_report_it_tells_the_int8_engines_on_the_validation_images() -> None:
    at = {side: {"precision": 0.75, "recall": 0.8} for side in ("base", "unmoved", "moved")}
    engines = [{"precision": "bf16", "validation": None}, {"precision": "int8", "validation": at}]
    found = thresholds.said({"thresholds": [{"backend": "openvino", "engines": engines}]})
    assert found == {"openvino": {side: {"precision": 75.0, "recall": 80.0} for side in at}}
