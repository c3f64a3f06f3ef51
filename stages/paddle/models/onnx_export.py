"""Paddle inference model -> ONNX, by Paddle2ONNX."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import paddle2onnx

from stages.errors import StageError

BOXES, SCORES = "boxes", "scores"
"""Names of the outputs of every ONNX file, in this order."""


def export_onnx(program: Path, params: Path, out: Path, *, opset: int) -> None:
    """Write ``out`` with the outputs called ``boxes`` and ``scores``; otherwise as Paddle2ONNX writes it.

    An INT8 model comes out in Q/DQ form; nothing of it is changed here, that is the lowering's to do.

    Raises:
        StageError: Paddle2ONNX cannot convert the model, or ONNX's checker refuses the result.
    """
    with tempfile.TemporaryDirectory(prefix="detpress-") as folder:
        raw = Path(folder) / "model.onnx"
        # It leaves a calibration cache in the current folder unless told where to.
        paddle2onnx.export(
            str(program),
            str(params),
            str(raw),
            opset_version=opset,
            auto_upgrade_opset=False,
            enable_onnx_checker=True,
            deploy_backend="onnxruntime",
            calibration_file=str(Path(folder) / "calibration.cache"),
            verbose=False,
        )
        if not raw.is_file() or raw.stat().st_size == 0:
            raise StageError(
                f"Paddle2ONNX could not convert {program.name} to opset {opset}; its reason is in the stage's log. "
                "Try export.opset=13."
            )
        model = onnx.load(str(raw))
    _rename_outputs(model.graph, (BOXES, SCORES))
    try:
        onnx.checker.check_model(model, full_check=False)
    except onnx.checker.ValidationError as error:
        raise StageError(f"ONNX's checker refuses the converted model ({error}). Try export.opset=13.") from error
    onnx.save(model, str(out))


def _rename_outputs(graph: onnx.GraphProto, names: tuple[str, ...]) -> None:
    """Call the graph's outputs ``names``; the converter's names differ between FP32 and INT8."""
    if len(graph.output) != len(names):
        raise StageError(
            f"the ONNX model has {len(graph.output)} outputs instead of boxes and scores; export it again."
        )
    new = {value.name: name for value, name in zip(graph.output, names, strict=True)}
    for value in graph.output:
        value.name = new[value.name]
    for node in graph.node:
        node.output[:] = [new.get(name, name) for name in node.output]
        node.input[:] = [new.get(name, name) for name in node.input]
