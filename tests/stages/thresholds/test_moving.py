"""Where a threshold stands on other scores: exactly with scores that were shrunk, and as a slow search finds it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stages.accuracy.per_image import best_threshold
from stages.detection.bootstrap import draw_weights
from stages.thresholds.curves import EMPTY, Curve, Floats, operating_point
from stages.thresholds.moving import COUNT, PRECISION, best_f1, moved
from tests.stages.thresholds.scenes import both

WHOLE = np.ones((1, 60), np.int32)
DRAWS = draw_weights(60, 200, 3)


def curves(seed: int, change: Callable[[Floats], Floats]) -> tuple[Curve, Curve]:
    base, other = both(seed, change)
    return Curve.of(base, 0), Curve.of(other, 0)


def recall(curve: Curve, threshold: float) -> float:
    found = operating_point([curve], [threshold])["recall"]
    assert found is not None
    return found


@pytest.mark.parametrize("same", [PRECISION, COUNT])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_with_the_same_scores_no_threshold_moves_in_any_draw(same: str, threshold: float) -> None:
    base, other = curves(1, lambda score: score)
    assert set(moved(base, other, threshold, DRAWS, same) - threshold) == {0.0}


@pytest.mark.parametrize("same", [PRECISION, COUNT])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_shrunk_scores_take_the_threshold_with_them_and_recall_comes_back_exactly(same: str, threshold: float) -> None:
    base, other = curves(2, lambda score: 0.8 * score)
    (value,) = moved(base, other, threshold, WHOLE, same)
    assert value == pytest.approx(0.8 * threshold, abs=2e-5)
    assert recall(other, threshold) < recall(base, threshold) - 0.01
    assert recall(other, value) == recall(base, threshold)
    assert moved(base, other, threshold, DRAWS, same) == pytest.approx(0.8 * threshold, abs=2e-5)


def test_any_rising_change_of_the_scores_keeps_the_same_detections() -> None:
    base, other = curves(3, lambda score: score**1.7)
    (value,) = moved(base, other, 0.5, WHOLE, PRECISION)
    assert operating_point([other], [value]) == operating_point([base], [0.5])


def test_no_threshold_divides_detections_of_one_score() -> None:
    """An INT8 head gives few different scores."""
    base, other = curves(4, lambda score: np.round(score * 12) / 12 * 0.9)
    (value,) = moved(base, other, 0.5, WHOLE, COUNT)
    count = int((other.score >= value).sum())
    wanted = int((base.score >= 0.5).sum())
    possible = [int((other.score >= score).sum()) for score in np.unique(other.score)]
    assert abs(count - wanted) == min(abs(each - wanted) for each in possible)


def slow(base: Curve, other: Curve, threshold: float, weights: np.ndarray, same: str) -> float:
    """The same for one draw, one detection after another."""
    drawn = [(s, int(weights[i]), bool(h)) for s, i, h in zip(other.score, other.image, other.hit, strict=True)]
    wanted = sum(int(weights[i]) for s, i in zip(base.score, base.image, strict=True) if s >= threshold)
    right = sum(
        int(weights[i]) for s, i, h in zip(base.score, base.image, base.hit, strict=True) if s >= threshold and h
    )
    if wanted == 0:
        return np.nan
    levels = []
    for score in sorted({s for s, w, _ in drawn if w}, reverse=True):
        found = sum(w for s, w, _ in drawn if s >= score)
        levels.append((score, found, sum(w for s, w, h in drawn if s >= score and h)))
    at = min(range(len(levels)), key=lambda k: (abs(levels[k][1] - wanted), -levels[k][1]))
    if same == PRECISION:

        def better(k: int) -> int:
            own, asked = levels[k][2] * wanted, right * levels[k][1]
            return (own > asked) - (own < asked)

        if better(at) > 0:
            while at + 1 < len(levels) and better(at + 1) >= 0:
                at += 1
        elif better(at) < 0:
            while at >= 0 and better(at) < 0:
                at -= 1
            if at < 0:
                return np.nan
    above = min(s for s, i in zip(base.score, base.image, strict=True) if s >= threshold and weights[i])
    below = max((s for s, i in zip(base.score, base.image, strict=True) if s < threshold and weights[i]), default=0.0)
    place = (threshold - below) / (above - below)
    after = levels[at + 1][0] if at + 1 < len(levels) else 0.0
    if after < threshold <= levels[at][0]:
        return threshold
    gap = levels[at][0] - after
    margin = min(gap / 4, 1e-5)
    return float(min(max(after + place * gap, after + margin), levels[at][0] - margin))


@pytest.mark.parametrize("same", [PRECISION, COUNT])
@pytest.mark.parametrize("seed", range(6))
def test_every_draw_is_what_a_slow_search_finds(seed: int, same: str) -> None:
    rng = np.random.default_rng(seed)
    levels = 1000 if seed % 2 else 20
    base, other = curves(
        seed, lambda score: np.round(np.clip(score * 0.9 + rng.normal(0, 0.05, score.size), 0.02, 1) * levels) / levels
    )
    weights = draw_weights(60, 25, seed)
    weights[0] = 0
    weights[0, :2] = 1  # a draw of hardly anything
    for threshold in (0.2, 0.5, 0.8, 0.98):
        wanted = [slow(base, other, threshold, draw, same) for draw in weights]
        assert moved(base, other, threshold, weights, same) == pytest.approx(wanted, abs=2e-6, nan_ok=True)


def test_an_engine_with_more_false_alarms_gets_a_higher_threshold_that_has_the_precision() -> None:
    base, found = curves(5, lambda score: score)
    worse = Curve(found.score, found.image, found.hit & (np.arange(found.score.size) % 10 > 0), found.box_image)
    (by_count,), (value,) = moved(base, worse, 0.4, WHOLE, COUNT), moved(base, worse, 0.4, WHOLE, PRECISION)
    assert value > by_count == 0.4
    here, there = (operating_point([c], [t])["precision"] for c, t in ((base, 0.4), (worse, value)))
    assert here is not None and there is not None and there >= here


def test_where_there_is_no_such_precision_there_is_no_threshold() -> None:
    base, found = curves(6, lambda score: score)
    wrong = Curve(found.score, found.image, np.zeros_like(found.hit), found.box_image)
    assert np.isnan(moved(base, wrong, 0.5, DRAWS, PRECISION)).all()
    assert np.isnan(moved(base, EMPTY, 0.5, DRAWS, PRECISION)).all()
    assert np.isnan(moved(base, found, 1.0, WHOLE, COUNT)).all()  # FP32 finds nothing from there on


def test_the_best_f1_is_that_of_the_whole_set() -> None:
    base, other = both(7, lambda score: 0.7 * score)
    for matches in (base, other):
        assert best_f1(Curve.of(matches, 0), WHOLE) == best_threshold(matches)
    assert np.isnan(best_f1(EMPTY, WHOLE)).all()
    assert best_f1(Curve.of(base, 0), DRAWS).std() > 0


def test_steps_of_a_large_set_give_what_one_step_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    base, other = curves(8, lambda score: 0.9 * score)
    whole = moved(base, other, 0.5, DRAWS, PRECISION)
    monkeypatch.setattr("stages.thresholds.moving._ELEMENTS", 5000)
    assert (moved(base, other, 0.5, DRAWS, PRECISION) == whole).all()
