"""The arithmetic of `make bench-less-work`, and what it asks the program for."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from tests.benchmarks.less_work import BACKENDS, SHORT, lighter, result


def one(drop: float, faster: float) -> dict[str, Any]:
    ratio = {"median": faster, "low": faster - 0.1, "high": faster + 0.1, "cpu": faster + 0.2}
    return {backend: {"drop": drop, "plain_drop": drop / 2, "over_int8": ratio} for backend in BACKENDS}


def test_means_are_taken_over_the_runs() -> None:
    runs = [{"data": "shapes", "seed": 0, **one(0.4, 1.2)}, {"data": "shapes", "seed": 1, **one(0.8, 1.4)}]
    found = result(runs, None)
    for backend in BACKENDS:
        assert found["over_int8"][backend] == pytest.approx(1.3)
        assert found["over_int8_cpu"][backend] == pytest.approx(1.5)
        assert found["drop"][backend] == pytest.approx(0.6) and found["plain_drop"][backend] == pytest.approx(0.3)
    assert "l_over_fp32" not in found and found["runs"] == runs


def test_without_runs_there_is_the_large_model_alone() -> None:
    large = {"over_fp32": {"onnxruntime": {"median": 4.5}}, "over_int8": {}, "plain_over_fp32": {}}
    found = result([], large)
    assert found["l_over_fp32"] == large["over_fp32"]
    assert found["drop"] == dict.fromkeys(BACKENDS)


def test_the_speed_needs_no_training() -> None:
    options = argparse.Namespace(activation="relu", prune=0.3, steps=2000, light=["compression.light_lr=1e-4"])
    asked = ["compression.activation=relu", "compression.prune=0.3"]
    assert lighter(options) == [*asked, "compression.light_steps=2000", "compression.light_lr=1e-4"]
    assert lighter(options, learns=False)[2] == "compression.light_steps=0"


def test_channels_alone_may_go() -> None:
    options = argparse.Namespace(activation="none", prune=0.3, steps=500, light=[])
    assert lighter(options) == ["compression.prune=0.3", "compression.light_steps=500"]


def test_both_backends_choose_their_kernels_as_a_user_gets_them() -> None:
    assert "backend=[onnxruntime,openvino]" in SHORT
    assert not [asked for asked in SHORT if asked.startswith("backend.")]
