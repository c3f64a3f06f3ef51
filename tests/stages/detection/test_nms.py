"""NMS against a slow loop that does what the words say, and against Paddle's own operator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.detection import nms
from stages.detection.nms import multiclass_nms
from stages.options.accuracy import NmsOptions
from tests.stages import forks

FIELD = np.float32


def overlap(a: np.ndarray, b: np.ndarray) -> np.float32:
    """IoU in float32, step by step as Paddle computes it."""
    if b[0] > a[2] or b[2] < a[0] or b[1] > a[3] or b[3] < a[1]:
        return FIELD(0)
    meet = FIELD(min(a[2], b[2]) - max(a[0], b[0])) * FIELD(min(a[3], b[3]) - max(a[1], b[1]))
    area_a, area_b = FIELD(a[2] - a[0]) * FIELD(a[3] - a[1]), FIELD(b[2] - b[0]) * FIELD(b[3] - b[1])
    union = FIELD(FIELD(area_a + area_b) - meet)
    return FIELD(meet / union) if union > 0 else FIELD(0)


def slow_nms(boxes: np.ndarray, scores: np.ndarray, o: NmsOptions) -> np.ndarray:
    """One class after the other, one box after the other."""
    found: list[tuple[int, np.float32, int]] = []
    for c, of_class in enumerate(scores):
        order = [i for i in np.argsort(-of_class, kind="stable") if of_class[i] > FIELD(o.score_threshold)]
        if o.nms_top_k >= 0:
            order = order[: o.nms_top_k]
        kept: list[int] = []
        for i in order:
            if all(overlap(boxes[k], boxes[i]) <= FIELD(o.nms_threshold) for k in kept):
                kept.append(i)
        found += [(c, of_class[i], i) for i in kept]
    found.sort(key=lambda f: -f[1])  # stable
    if o.keep_top_k >= 0:
        found = found[: o.keep_top_k]
    return np.array([[c, s, *boxes[i]] for c, s, i in found], FIELD).reshape(-1, 6)


def scene(seed: int, classes: int, anchors: int, faint: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of boxes around a few objects, in front of many faint scores, with ties."""
    rng = np.random.default_rng(seed)
    scores = np.exp(rng.normal(np.log(faint), 0.8, (classes, anchors)))
    centre, size = rng.uniform(0, 320, (anchors, 2)), np.exp(rng.uniform(2, 5, (anchors, 2)))
    for _ in range(6):
        near = rng.choice(anchors, max(2, anchors // 12), replace=False)
        at, extent = rng.uniform(40, 280, 2), np.exp(rng.uniform(3, 5, 2))
        centre[near] = at + rng.normal(0, 0.06, (near.size, 2)) * extent
        size[near] = extent * np.exp(rng.normal(0, 0.1, (near.size, 2)))
        scores[rng.integers(classes), near] = rng.uniform(0.02, 0.95, near.size)
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    return boxes.astype(FIELD), np.round(np.minimum(scores, 0.99), 3).astype(FIELD)


OPTIONS = [
    NmsOptions(),
    NmsOptions(nms_top_k=7),
    NmsOptions(keep_top_k=5, nms_threshold=0.3),
    NmsOptions(score_threshold=0.2, nms_threshold=0.5, nms_top_k=-1, keep_top_k=-1),
    NmsOptions(keep_top_k=0),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("classes", "anchors"), [(1, 50), (5, 300), (20, 120)])
def test_equals_the_slow_loop(options: NmsOptions, classes: int, anchors: int) -> None:
    for seed in range(4):
        boxes, scores = scene(seed, classes, anchors)
        np.testing.assert_array_equal(multiclass_nms(boxes, scores, options), slow_nms(boxes, scores, options))


@pytest.mark.parametrize("top_k", [3, 40, 1000])
def test_block_borders_and_put_off_sorting_change_nothing(monkeypatch: pytest.MonkeyPatch, top_k: int) -> None:
    boxes, scores = scene(5, 4, 250, faint=0.03)
    options = NmsOptions(nms_top_k=top_k, keep_top_k=-1)
    expected = slow_nms(boxes, scores, options)
    for block, at_once in ((1, 1), (7, 10), (64, 33)):
        monkeypatch.setattr(nms, "BLOCK", block)
        monkeypatch.setattr(nms, "SORTED_AT_ONCE", at_once)
        np.testing.assert_array_equal(multiclass_nms(boxes, scores, options), expected)


def test_nothing_above_the_threshold_and_boxes_without_area() -> None:
    boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5], [9, 9, 2, 2]], FIELD)
    assert multiclass_nms(boxes, np.full((2, 3), 0.01, FIELD), NmsOptions()).shape == (0, 6)
    assert multiclass_nms(boxes[:0], np.empty((2, 0), FIELD), NmsOptions()).shape == (0, 6)
    assert len(multiclass_nms(boxes, np.full((1, 3), 0.5, FIELD), NmsOptions())) == 3


def test_the_threshold_itself_is_not_above_it() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], FIELD)  # IoU exactly 0.5
    scores = np.array([[0.9, 0.8]], FIELD)
    assert len(multiclass_nms(boxes, scores, NmsOptions(nms_threshold=0.5))) == 2
    assert len(multiclass_nms(boxes, scores, NmsOptions(nms_threshold=0.49))) == 1
    assert len(multiclass_nms(boxes, scores, NmsOptions(score_threshold=0.8))) == 1


@pytest.mark.slow
def test_equals_paddles_operator(tmp_path: Path) -> None:
    cases = [(o, scene(i, 12, 600, faint=0.02)) for i, o in enumerate(OPTIONS[:4])]
    arrays = {}
    for i, (o, (boxes, scores)) in enumerate(cases):
        arrays[f"boxes{i}"], arrays[f"scores{i}"] = boxes, scores
        arrays[f"options{i}"] = np.array([o.score_threshold, o.nms_threshold, o.nms_top_k, o.keep_top_k])
    np.savez(tmp_path / "in.npz", **arrays)
    forks.run("tests.stages.paddle.probe_nms", str(tmp_path / "in.npz"), str(tmp_path / "out.npz"))
    with np.load(tmp_path / "out.npz") as got:
        for i, (o, (boxes, scores)) in enumerate(cases):
            ours, theirs = multiclass_nms(boxes, scores, o), got[f"out{i}"]
            assert len(ours) > 3
            np.testing.assert_array_equal(_ordered(ours), _ordered(theirs))


def _ordered(detections: np.ndarray) -> np.ndarray:
    return detections[np.lexsort(detections.T[::-1])]
