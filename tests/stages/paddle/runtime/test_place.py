"""Where programs run. What a GPU does with them is not tested: the tests' machine has none."""

from __future__ import annotations

import pytest

from tests.stages.workers import probed


@pytest.mark.slow
def test_several_processes_take_a_gpu_each_or_none() -> None:
    found = probed("tests.stages.paddle.probe_place")
    assert found["one"] == found["none"] == found["cpu"] == []
    assert found["two"] == ["0", "1"]
    assert found["named"] == ["7", "GPU-5"]
    assert "compression.processes=8 needs as many GPUs, and Paddle sees 4" in found["too many"]
    assert "leave the number out" in found["one named"]
    assert found["here"] == "Place(cpu)"
    assert found["really"] == []
