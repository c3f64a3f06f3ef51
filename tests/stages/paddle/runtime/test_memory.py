"""What is said when a GPU's memory is too small."""

from __future__ import annotations

import pytest

from tests.stages.workers import probed


@pytest.mark.slow
def test_the_error_says_which_batch_to_try() -> None:
    found = probed("tests.stages.paddle.probe_memory")
    assert "too small for finetune.batch=16; this process held 3.0 GiB of it. Try finetune.batch=8" in found["many"]
    assert "run.device=cpu" in found["one"]
    assert found["other"] == "something else"
    assert found["metrics"] == {"gpu_memory_gib": 3.0}
    assert found["cpu"] == {}
