"""A rounding in one operator is the rounding in two, but for what lies below the range."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.stages.workers import ROOT


@pytest.mark.slow
def test_one_operator_rounds_like_two() -> None:
    command = [sys.executable, "-m", "tests.stages.paddle.probe_fuse"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
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
