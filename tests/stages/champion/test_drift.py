"""New images are compared with those a champion was made with, by a statistic that says nothing without a reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stages.artifacts import Precision
from stages.build.build import Build, BuildInputs
from stages.champion.drift import FILE, Drift, DriftInputs, compare, kolmogorov_smirnov, sentence
from stages.options.backend import BuildOptions
from stages.options.champion import DriftOptions
from tests.fakes import FakeContext
from tests.stages.engines import exported, unlabeled


def test_the_distance_and_its_chance_are_those_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    same = [kolmogorov_smirnov(rng.normal(size=60), rng.normal(size=80))[1] for _ in range(400)]
    assert 0.02 < np.mean(np.array(same) < 0.05) < 0.08  # p is below 0.05 in 5 % of the cases
    assert kolmogorov_smirnov(np.arange(10.0), np.arange(10.0)) == (0.0, 1.0)
    distance, p = kolmogorov_smirnov(np.arange(50.0), np.arange(50.0) + 100)
    assert distance == 1.0 and p < 1e-20


def described(rng: np.random.Generator, count: int, brightness: float) -> dict[str, np.ndarray]:
    return {
        "size": np.full(count, 320.0),
        "brightness": rng.normal(brightness, 10, count),
        "boxes": rng.poisson(4, count).astype(float),
        "score": rng.uniform(0.5, 1, count),
    }


def test_only_what_is_both_large_and_no_chance_has_drifted() -> None:
    rng = np.random.default_rng(1)
    before = described(rng, 200, 100)
    assert compare(before, described(rng, 200, 100))["drifted"] == []
    drifted = compare(before, described(rng, 200, 120))
    assert drifted["drifted"] == ["brightness"]
    assert "brightness (median 10" in sentence({**drifted, "new_images": 200})
    assert compare(before, described(rng, 3, 112))["drifted"] == []  # three images show nothing
    slight = compare(described(rng, 20_000, 100), described(rng, 20_000, 101))
    assert slight["features"]["brightness"]["p"] < 0.01 and slight["drifted"] == []  # sure, and of no consequence
    nothing = compare(before, {name: column[:0] for name, column in before.items()})
    assert nothing["drifted"] == [] and nothing["sampled"] == 0


@pytest.mark.slow
def test_the_stage_describes_images_and_looks_only_at_new_ones(tmp_path: Path) -> None:
    model = exported(tmp_path / "model", Precision.FP32)
    engine = Build(BuildOptions(options={"threads": 1})).run(BuildInputs(model), FakeContext(tmp_path / "build"))
    images = unlabeled(tmp_path / "images", 4)
    stage = Drift(DriftOptions(images=3))
    first = FakeContext(tmp_path / "first")
    before = stage.run(DriftInputs(images, engine), first)
    assert before.count == 3 and before.files.keys() == {FILE}
    with np.load(before.path(FILE)) as stored:
        assert stored["known"].shape == (4, 32) and stored["brightness"].shape == (3,)
    context = FakeContext(tmp_path / "second")
    again = stage.run(DriftInputs(images, engine, before), context)
    content = json.loads(again.path("drift.json").read_text())
    assert (content["new_images"], again.drifted, context.warnings) == (0, [], [])
    assert context.value("drift.new_images") == 0
