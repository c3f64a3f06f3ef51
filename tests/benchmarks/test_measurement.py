"""The benchmark of the measuring runs and tells what it promises; how good the numbers are, a quiet machine shows."""

from __future__ import annotations

import numpy as np
import pytest

from stages.detection.average_precision import summarize
from stages.detection.differences import differ
from stages.detection.matching import match
from tests.benchmarks import measurement, synthetic


@pytest.mark.slow
@pytest.mark.timing
def test_preprocessing_nms_and_harness_are_measured() -> None:
    found = measurement.latency(rounds=2, runs=5)
    assert 0.5 < found["end2end_minus_runtime_ms"] < 200
    # About one millisecond of thirteen, so that a loaded machine can turn its sign.
    assert abs(found["end2end_minus_runtime_graph_ms"]) < 200 and abs(found["end2end_saved_ms"]) < 200
    assert 0.2 < found["harness_ratio"] < 5


def test_the_synthetic_set_is_of_cocos_size_and_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (synthetic.IMAGES, synthetic.CLASSES, synthetic.BOXES, synthetic.FOUND) == (5000, 80, 36_781, 300)
    monkeypatch.setattr(synthetic, "IMAGES", 60)
    monkeypatch.setattr(synthetic, "BOXES", 441)
    labels = synthetic.truth()
    base, other = (match(labels, synthetic.detections(labels, q, seed)) for q, seed in ((1.0, 1), (0.9, 2)))
    assert base.score.size > 0.99 * 60 * 300
    assert 0.1 < (summarize(base)["AP"] or 0) < 0.6
    found, draws = differ(base, other, 100, seed=0, threads=2)
    assert found["map"]["low"] < found["map"]["value"] < found["map"]["high"]
    assert np.isfinite(draws["map"]).all()
