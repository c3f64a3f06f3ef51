"""What `make bench-teacher` says, on runs that are made up."""

from __future__ import annotations

import pytest

from tests.benchmarks import teacher


def found(score: float, low: float) -> dict[str, float]:
    return {"map": score, "value": low + 0.3, "low": low, "high": low + 0.6}


def test_every_seed_has_to_hold() -> None:
    own = [found(57.0, -0.4), found(57.2, -0.3)]
    said = teacher.result(own, [found(57.5, -0.1), found(57.7, 0.1)], 61.234)
    assert (said["helps"], said["lows"], said["own_lows"]) == (True, [-0.1, 0.1], [-0.4, -0.3])
    assert (said["gain"]["mean"], said["teacher_map"]) == (0.5, 61.23)
    assert said["gain"]["low"] == pytest.approx(0.5)  # both gain the same
    assert not teacher.result(own, [found(57.5, -0.1), found(57.7, -0.3)], None)["helps"]


def test_one_seed_has_no_interval() -> None:
    assert teacher.result([found(57.0, -0.4)], [found(57.5, -0.1)], None)["gain"] == {"mean": 0.5}
