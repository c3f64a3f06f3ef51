"""How large a model is: its parameters, and what one image costs."""

from __future__ import annotations

from stages.artifacts import ExportedModel
from stages.detection.size import parameters
from stages.numerics.variants import Precision, is_float
from stages.report.schema import ModelSize, Row


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
