"""Parameters and multiply-adds of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from stages.artifacts import ExportedModel, Precision, hash_files
from stages.report.model_size import count, model_size


def model() -> onnx.ModelProto:
    """A convolution with a bias behind it, a batch norm, and a table of anchors."""
    arrays = {
        "w": np.zeros((4, 3, 1, 1), np.float32), "bias": np.zeros((1, 4, 1, 1), np.float32),
        **{name: np.ones(4, np.float32) for name in ("scale", "shift", "mean", "variance")},
        "anchors": np.zeros((1, 4, 8, 8), np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Add", ["c", "bias"], ["d"]),
        helper.make_node("BatchNormalization", ["d", "scale", "shift", "mean", "variance"], ["e"]),
        helper.make_node("Mul", ["e", "anchors"], ["y"]),
    ]
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, c, 8, 8]) for n, c in (("x", 3), ("y", 4))]
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    return helper.make_model(helper.make_graph(nodes, "g", value[:1], value[1:], tensors))


def test_weights_and_biases_count_and_tables_do_not() -> None:
    assert count(model()) == 12 + 4 + 8


def test_the_work_is_that_of_one_image_on_the_engine_that_pads_least(tmp_path: Path) -> None:
    onnx.save(model(), str(tmp_path / "model.onnx"))
    exported = ExportedModel(
        root=tmp_path, files=hash_files(tmp_path), precision=Precision.FP32, input_size=[320, 640], batch=2
    )
    rows: list[Any] = [
        {"precision": precision, "batch": 2, "audit": {"multiply_adds": work}}
        for precision, work in (("fp32", 1200), ("bf16", 1000), ("int8", 900))
    ]
    assert model_size([exported], rows) == {"parameters": 24, "multiply_adds": 500, "input_size": [320, 640]}
    assert model_size([], rows) is None
