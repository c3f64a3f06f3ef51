"""A rounding in one operator is the rounding in two, but for what lies below the range."""

from __future__ import annotations

import numpy as np
import pytest

from tests.stages.workers import probed


@pytest.mark.slow
def test_one_operator_rounds_like_two() -> None:
    found = probed("tests.stages.paddle.probe_fuse")
    assert sorted(found["types"]) == [
        "fake_channel_wise_quantize_dequantize_abs_max",
        "fake_quantize_dequantize_moving_average_abs_max",
    ]
    pairs, fused = found["pairs"], found["fused"]
    for name in ("w", "sx", "ax", "tx", "sw"):
        np.testing.assert_allclose(fused[name], pairs[name], rtol=1e-6, err_msg=name)
    x, scale = np.array(found["x"]), pairs["sx"][0]
    inside = x > -scale
    assert 0 < np.count_nonzero(~inside) < x.size
    np.testing.assert_allclose(np.array(fused["x"])[inside], np.array(pairs["x"])[inside], atol=1e-6)
    np.testing.assert_allclose(np.array(fused["x"])[~inside], -scale, rtol=1e-5)
