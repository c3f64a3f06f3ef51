"""Which place every program of a stage is made for, seen with stand-ins for GPUs.

What a GPU computes is not tested: the tests' machine has none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages.distillation.distill import DistillInputs
from stages.options.compression import DistillOptions
from tests.stages.workers import Worker

FILES = {"load_program", "save"}
"""Who reads and writes files: on the CPU, wherever the rest computes."""
SHORT: dict[str, Any] = {"steps": 2, "batch": 2, "checkpoint_every": 1, "log_every": 1, "lr": 1e-3}
SHORT |= {"eval_every": 1, "calibration_images": 2}


def places(worker: Worker) -> tuple[set[str], dict[str, Any]]:
    """The places of all programs that compute, and the whole record."""
    record: dict[str, Any] = json.loads((worker.work / "places.json").read_text())
    return {place for place, by in record["executors"] if by not in FILES} | set(record["predictors"]), record


@pytest.mark.slow
@pytest.mark.parametrize("method", ["qat_distill", "ptq"])
@pytest.mark.parametrize(
    ("device", "gpus", "expected"), [("auto", 1, "gpu:0"), ("gpu:1", 2, "gpu:1"), ("cpu", 1, "cpu"), ("auto", 0, "cpu")]
)
def test_every_program_of_a_compression_is_made_for_the_device(
    fp32: DistillInputs, tmp_path: Path, method: str, device: str, gpus: int, expected: str
) -> None:
    worker = Worker(tmp_path, "distill", DistillOptions(method=method, **SHORT), fp32, device=device, gpus=gpus)
    worker.done()
    seen, record = places(worker)
    assert seen == {expected}
    assert record["default"] == [expected]
    on_gpu = expected != "cpu"
    assert worker.metrics("gpu_memory_gib") == ([3.0] if on_gpu else [])
    told = [line for line in worker.said("info") if "computes on" in line]
    assert told == ([f"computes on GPU {expected[-1]}: stand-in {expected[-1]}"] if on_gpu else [])


@pytest.mark.slow
@pytest.mark.parametrize(("gpus", "reason"), [(0, "is a build for the CPU"), (1, "Paddle sees 1 GPU, numbered from 0")])
def test_a_gpu_that_is_not_there_is_refused_and_never_replaced(
    fp32: DistillInputs, tmp_path: Path, gpus: int, reason: str
) -> None:
    error = Worker(tmp_path, "distill", DistillOptions(method="ptq", **SHORT), fp32, device="gpu:3", gpus=gpus).failed()
    assert "run.device=gpu:3" in json.dumps(error)
    assert reason in json.dumps(error)
