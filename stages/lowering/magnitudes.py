"""How large the numbers of a graph become on given inputs: what decides whether a layer fits into FP16."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, shape_inference


def largest(model: onnx.ModelProto, feeds: Iterable[Mapping[str, npt.NDArray[np.float32]]]) -> dict[str, float]:
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
    settings.log_severity_level = 3
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
