"""Faster kernels compute what Paddle's own do, from the first run to the last."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.stages.workers import probed


@pytest.fixture(scope="module")
def found() -> Any:
    return probed("tests.stages.paddle.probe_execution")


@pytest.mark.slow
def test_a_training_comes_out_as_with_paddleslims_pact_and_paddles_kernels(found: Any) -> None:
    plain, ours = found["plain"], found["ours"]
    assert plain["losses"][-1] < 0.9 * plain["losses"][0]
    np.testing.assert_allclose(ours["losses"], plain["losses"], rtol=1e-5)
    assert set(ours["weights"]) == set(plain["weights"])
    thresholds = [name for name in plain["weights"] if name.endswith("_pact")]
    assert len(thresholds) == 4 and any(plain["weights"][name] != [0.7] for name in thresholds)
    for name, expected in plain["weights"].items():
        np.testing.assert_allclose(ours["weights"][name], expected, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_ranges_are_those_of_each_image(found: Any) -> None:
    """With Paddle's in-place pass they were wrong from the second run on."""
    assert len(found["ranges"]) == 6
    for direct, observed in found["ranges"]:
        np.testing.assert_allclose(observed, direct, rtol=1e-5)


@pytest.mark.slow
def test_other_programs_of_the_process_run_as_before(found: Any) -> None:
    assert found["flag"] is False
