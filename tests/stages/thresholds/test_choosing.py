"""Which thresholds move, which stay and why, and what a threshold that moved does on images it was not chosen by."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from stages.detection.bootstrap import draw_weights
from stages.thresholds.choosing import LEAST_BOXES, Seen, choose
from stages.thresholds.moving import PRECISION
from tests.stages.thresholds.scenes import Floats, both

WEIGHTS = draw_weights(60, 300, 0)
NAMED = [("ant", 0.5), ("bee", 0.6)]
NUMBERS = {0: 0, 1: 1}


def shrunk(score: Floats) -> Floats:
    return 0.8 * score


def noisy(score: Floats) -> Floats:
    return np.clip(score + np.random.default_rng(5).normal(0, 0.03, score.size), 0.01, 1)


def test_shrunk_scores_move_every_threshold_and_recall_is_fp32s_again_on_other_images() -> None:
    found = choose(
        "int8", Seen(*both(1, shrunk, classes=2), NUMBERS), NAMED, WEIGHTS, PRECISION,
        Seen(*both(2, shrunk, classes=2), NUMBERS),
    )  # fmt: skip
    assert [one["moved"] for one in found["classes"]] == [True, True]
    assert [one["threshold"] for one in found["classes"]] == pytest.approx([0.4, 0.48], abs=2e-5)
    for at in (found["at"], found["validation"]):
        assert at is not None and at["moved"] == at["base"]
        assert at["base"]["recall"] is not None and at["unmoved"]["recall"] is not None
        assert at["unmoved"]["recall"] < at["base"]["recall"] - 0.02


def test_scores_that_only_scatter_leave_it_and_say_how_many_boxes_would_tell() -> None:
    found = choose("int8", Seen(*both(3, noisy, classes=2), NUMBERS), NAMED, WEIGHTS, PRECISION)
    one = found["classes"][0]
    assert (one["moved"], one["threshold"], one["why"]) == (False, 0.5, "its interval holds FP32's")
    assert one["low"] is not None and one["high"] is not None and one["low"] <= 0.5 <= one["high"]
    assert one["other"] != 0.5 and one["needed"] is not None and one["needed"] > one["boxes"] == 360
    assert one["at"]["moved"] == one["at"]["unmoved"]
    assert found["validation"] is None and one["validation"] is None


def test_a_class_with_few_boxes_keeps_its_threshold_however_far_it_would_move() -> None:
    matches = both(4, shrunk, images=4, boxes=LEAST_BOXES // 4)
    found = choose("int8", Seen(*matches, {0: 0}), [("ant", 0.5)], draw_weights(4, 300, 0), PRECISION)
    (one,) = found["classes"]
    assert one["other"] == pytest.approx(0.4, abs=2e-5)
    assert (one["moved"], one["threshold"], one["boxes"], one["needed"]) == (False, 0.5, 28, LEAST_BOXES)
    assert one["why"] == "only 28 boxes; about 30 are needed"


def test_a_class_that_the_labels_do_not_have_stays_and_has_no_figures() -> None:
    found = choose("int8", Seen(*both(1, shrunk), {1: 0}), NAMED, WEIGHTS, PRECISION)
    ant, bee = found["classes"]
    assert (ant["boxes"], ant["other"], ant["threshold"], ant["moved"]) == (0, None, 0.5, False)
    assert ant["at"]["base"] == {"precision": None, "recall": None}
    assert bee["moved"] and bee["threshold"] == pytest.approx(0.48, abs=2e-5)


def test_an_engine_that_never_has_the_precision_keeps_the_threshold_and_says_so() -> None:
    base, other = both(6, shrunk)
    blind = dataclasses.replace(other, hit=np.zeros_like(other.hit))
    (one,) = choose("int8", Seen(base, blind, {0: 0}), [("ant", 0.5)], WEIGHTS, PRECISION)["classes"]
    assert (one["moved"], one["why"]) == (False, "its scores never have FP32's precision")
    assert one["needed"] is None and one["best_f1"]["other"] is None
