"""Layers that stayed in float, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from stages.build.reasons import PLAIN, TAIL, UNFUSED, UNKNOWN, explain
from tests.stages.lowering.test_placement import head
from tests.stages.qdq import Build


def audit(*names: str) -> dict[str, Any]:
    return {
        "int8_share": 0.5,
        "float_layers": [{"name": n, "kind": "Conv", "format": "fp32", "share": 0.1} for n in names],
    }


def reasons(told: dict[str, Any]) -> list[str]:
    return [layer["reason"] for layer in told["float_layers"]]


def test_the_projection_of_a_head_is_left_in_float_on_purpose(tmp_path: Path) -> None:
    model = head()
    onnx.save(model, str(tmp_path / "m.onnx"))
    first, second, projection = (n for n in model.graph.node if n.op_type == "Conv")
    told = explain(audit(projection.name, second.name, "fused_17"), tmp_path / "m.onnx")
    assert reasons(told) == [TAIL, UNFUSED, UNKNOWN]
    assert told["int8_share"] == 0.5 and first.name


def test_layers_are_known_by_their_weights_too(tmp_path: Path) -> None:
    b = Build(("image", [1, 3, 8, 8]))
    weights = b.const(np.ones((2, 3, 1, 1), np.float32))
    plain = b.node("Conv", "image", weights, kernel_shape=[1, 1])
    quantized = b.const(np.ones((2, 2, 1, 1), np.float32))
    x = b.qdq(plain, 0.05)
    b.node("Identity", b.node("Conv", x, b.qdq(quantized, 0.01), kernel_shape=[1, 1]), out="y")
    onnx.save(b.model(y=[1, 2, 8, 8]), str(tmp_path / "m.onnx"))
    assert reasons(explain(audit(weights, quantized), tmp_path / "m.onnx")) == [PLAIN, UNFUSED]


def test_where_nothing_is_left_nothing_is_read(tmp_path: Path) -> None:
    assert explain(audit(), tmp_path / "missing.onnx")["float_layers"] == []
