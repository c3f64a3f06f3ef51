"""A step with oneDNN's convolutions is the step that Paddle's own convolutions make."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.stages.paddle.models.test_models import compose, merge
from tests.stages.workers import probed

TINY = merge(compose("ppyoloe_tiny"), {"input_size": [96, 96], "architecture": {"width_mult": 0.125}})
AUXILIARY = merge(compose("ppyoloe_plus_t"), {"input_size": [96, 96]})


def case(assigned: str, boxes: int = 3, epoch: int = 0) -> dict[str, Any]:
    return {"assigned": assigned, "boxes": boxes, "epoch": epoch}


MODELS: dict[str, dict[str, Any]] = {
    "tiny": {
        "options": TINY,
        "cases": {
            "by geometry": case("geometry"),
            "by alignment": case("alignment"),
            "no boxes": case("alignment", boxes=0),
        },
    },
    "auxiliary": {
        "options": AUXILIARY,
        "cases": {
            "auxiliary neck, attached": case("geometry", epoch=0),
            "auxiliary neck, detached": case("alignment", epoch=9),
        },
    },
}
CASES = [name for model in MODELS.values() for name in model["cases"]]


@pytest.fixture(scope="module")
def found() -> Any:
    return probed("tests.stages.paddle.probe_training", given=MODELS, timeout=900)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_are_those_of_paddles_kernels(name: str, found: Any) -> None:
    assert found[name]["why_not"] == ""
    expected, ours = found[name]["losses"]
    assert expected["loss"] > 0
    for loss, value in expected.items():
        assert ours[loss] == pytest.approx(value, rel=1e-4, abs=1e-6), loss
    theirs, own = found[name]["parameters"]
    assert own == theirs and len(own) > 50
    # Where 1e-6 of the images' values moves gradients by more, so may another order of sums.
    limit = max(1e-3, 3 * max(found[name]["noise"].values()))
    assert limit < 1e-2
    assert {n: d for n, d in found[name]["gradients"].items() if d > limit} == {}
    statistics = found[name]["statistics"]
    assert any(n.endswith("._mean") for n in statistics) and max(statistics.values()) < 1e-4


@pytest.mark.slow
def test_the_curves_are_the_same(found: Any) -> None:
    plain, ours = found["curves"]["plain"], found["curves"]["onednn"]
    assert all(math.isfinite(v) for v in plain) and len(plain) == 8
    assert min(plain) < 0.99 * plain[0]
    np.testing.assert_allclose(ours, plain, rtol=1e-4)


@pytest.mark.slow
def test_a_training_that_is_taken_up_again_is_the_same_to_the_last_bit(found: Any) -> None:
    whole, resumed = found["resumed"]["losses"]
    assert resumed == whole and len(whole) == 4
    assert found["resumed"]["same"] == {"model": True, "averaged": True, "optimizer": True}


@pytest.mark.slow
def test_mixed_precision_goes_on_with_a_training_of_a_cpu(found: Any) -> None:
    assert found["after a CPU"] == "with a scale of its own"


@pytest.mark.slow
def test_what_runs_afterwards_is_dynamic(found: Any) -> None:
    assert found["dynamic"] is True


MEASURED = {"ppyoloe_tiny, 8": 1927, "ppyoloe_tiny, 2": 697, "ppyoloe_s, 8": 3382}
"""Model and batch, at 320x320 -> megabytes that four steps of a training took beside what was there before."""


@pytest.mark.slow
def test_the_memory_that_is_estimated_is_what_was_measured() -> None:
    given: dict[str, Any] = {}
    for case in MEASURED:
        name, batch = case.split(", ")
        given[case] = {"options": merge(compose(name), {"input_size": [320, 320]}), "batch": int(batch)}
    estimates = probed("tests.stages.paddle.probe_training_memory", given=given)
    for case, measured in MEASURED.items():
        assert estimates[case] == pytest.approx(measured * 1e6, rel=0.1), case
