"""How large a model is: its parameters, and what one image costs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from stages.artifacts import ExportedModel
from stages.numerics.variants import Precision, is_float
from stages.report.schema import ModelSize, Row

if TYPE_CHECKING:
    import onnx

_LEARNED = {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "PRelu", "InstanceNormalization"}
"""Operators whose constant inputs are weights."""


def model_size(models: list[ExportedModel], rows: list[Row]) -> ModelSize | None:
    """Of the FP32 model among ``models``; ``None`` without one.

    The multiply-adds are the smallest that the audits of float engines count: some runtimes pad channels, and count
    what they pad.
    """
    for model in models:
        if model.precision is Precision.FP32:
            counted = [a["multiply_adds"] for row in rows if is_float(row["precision"]) and (a := row["audit"])]
            batches = [row["batch"] or 1 for row in rows if is_float(row["precision"]) and row["audit"]]
            per_image = [of // batch for of, batch in zip(counted, batches, strict=True)]
            return {
                "parameters": parameters(model.path("model.onnx")),
                "multiply_adds": min(per_image, default=None),
                "input_size": list(model.input_size),
            }
    return None


def parameters(path: Path) -> int:
    """Numbers that an ONNX model learned: weights, and biases that are added right behind them.

    Anchor points, strides and other tables that the exporter wrote down as constants do not count.
    """
    import onnx

    return count(onnx.load(str(path)))


def count(model: onnx.ModelProto) -> int:
    """As `parameters`, of a loaded model."""
    graph = model.graph
    constants = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    constants[node.output[0]] = math.prod(attribute.t.dims)
    products = {name for node in graph.node if node.op_type in _LEARNED for name in node.output}
    learned: dict[str, int] = {}
    for node in graph.node:
        is_bias = node.op_type == "Add" and any(name in products for name in node.input)
        if node.op_type in _LEARNED or is_bias:
            running = 3 if node.op_type == "BatchNormalization" else None  # behind it: statistics, not weights
            learned |= {name: constants[name] for name in node.input[:running] if name in constants}
    return sum(learned.values())
