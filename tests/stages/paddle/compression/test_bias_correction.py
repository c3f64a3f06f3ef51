"""After the correction, a quantized network's means are FP32's, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.artifacts import ImageList
from stages.distillation.distill import DistillInputs
from stages.options.compression import DistillOptions
from tests.stages.paddle.compression.test_equalization import probe
from tests.stages.workers import Worker


@pytest.mark.slow
def test_means_that_clipping_has_moved_come_back(fp32: DistillInputs, pictures: ImageList, tmp_path: Path) -> None:
    found = probe("correct", fp32.model, pictures, tmp_path)
    assert found["layers"] == found["quantized"] > 60
    before, after = np.array(found["before"]), np.array(found["after"])
    assert before.max() > 0.05 and found["largest"] > 0.05
    assert after.max() < 0.01 and after.mean() < before.mean() / 20, (before.mean(), after.mean())


@pytest.mark.slow
def test_only_biases_differ_from_plain_quantization(fp32: DistillInputs, tmp_path: Path) -> None:
    made: list[Any] = []
    for correct in (False, True):
        options = DistillOptions(method="ptq", bias_correction=correct, calibration_images=4, batch=2)
        made.append(Worker(tmp_path / str(correct), "distill", options, fp32).done())
    plain, corrected = made
    assert plain.files["model.pdmodel"] == corrected.files["model.pdmodel"]
    assert plain.files["model.pdiparams"] != corrected.files["model.pdiparams"]
