"""How large the numbers of a graph become on given inputs: what decides whether a layer fits into FP16."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, shape_inference

NOTED = 2.0**11
"""Magnitudes from which on a tensor is worth a note: far below what FP16 holds, and few have them."""


def write(found: Mapping[str, float], file: Path) -> None:
    """Keep the tensors that reach `NOTED` (what is not finite: as text)."""
    kept = {name: value if np.isfinite(value) else "inf" for name, value in found.items() if not value < NOTED}
    file.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read(file: Path) -> dict[str, float]:
    """Tensor -> magnitude, of those that `write` kept; empty if there is no such file (no image was at hand)."""
    if not file.is_file():
        return {}
    return {name: float(value) for name, value in json.loads(file.read_text(encoding="utf-8")).items()}


def largest(
    model: onnx.ModelProto, feeds: Iterable[Mapping[str, npt.NDArray[np.float32]]], threads: int = 1
) -> dict[str, float]:
    """The largest magnitude of each float tensor that a node makes, over some runs of ONNX Runtime on the CPU.

    Every node runs as it stands. What a tensor holds is reduced to two numbers in the graph itself, so that the memory
    of a run stays about that of a plain one.

    Args:
        model: the graph; it is not changed.
        feeds: its inputs, one mapping a run.

    Returns:
        tensor -> max |x|; ``inf`` for what was not finite.
    """
    import onnxruntime as ort

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    names = _floats(watched)
    del watched.graph.output[:]
    for number, name in enumerate(names):
        for kind in ("ReduceMax", "ReduceMin"):
            output = f"detpress.{kind}.{number}"
            watched.graph.node.append(helper.make_node(kind, [name], [output], keepdims=0))
            watched.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, []))
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.log_severity_level, settings.intra_op_num_threads = 3, threads
    session = ort.InferenceSession(watched.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    worst = np.zeros(len(names))
    for given in feeds:
        bounds = np.abs(np.float64(session.run(None, dict(given)))).reshape(len(names), 2).max(axis=1)
        worst = np.maximum(worst, np.where(np.isfinite(bounds), bounds, np.inf))
    return dict(zip(names, worst.tolist(), strict=True))


def _floats(model: onnx.ModelProto) -> list[str]:
    """The tensors in FP32 that a node makes, and that are not constants."""
    known = shape_inference.infer_shapes(model).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*known.value_info, *known.output)}
    made = [name for node in model.graph.node if node.op_type != "Constant" for name in node.output]
    return [name for name in made if kinds.get(name) == TensorProto.FLOAT]
