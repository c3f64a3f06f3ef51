"""Parameters and multiply-adds of the model, as the report has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from stages.artifacts import ExportedModel, Precision, hash_files
from stages.report.model_size import model_size
from tests.stages.detection.test_size import small


def test_the_work_is_that_of_one_image_on_the_engine_that_pads_least(tmp_path: Path) -> None:
    onnx.save(small(), str(tmp_path / "model.onnx"))
    exported = ExportedModel(
        root=tmp_path, files=hash_files(tmp_path), precision=Precision.FP32, input_size=[320, 640], batch=2
    )
    rows: list[Any] = [
        {"precision": precision, "batch": 2, "audit": {"multiply_adds": work}}
        for precision, work in (("fp32", 1200), ("bf16", 1000), ("int8", 900))
    ]
    assert model_size([exported], rows) == {"parameters": 24, "multiply_adds": 500, "input_size": [320, 640]}
    assert model_size([], rows) is None
