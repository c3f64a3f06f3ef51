"""Why a layer of an INT8 engine is not in INT8, as far as the exported graph tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TAIL = "behind the Softmax, where boxes are decoded: kept in float on purpose"
PLAIN = "its inputs are not quantized in the exported graph"
UNFUSED = "quantized in the exported graph, but the runtime did not fuse it"
UNKNOWN = "the exported graph has no layer of this name; the runtime made or renamed it"
_WEIGHTED = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


def explain(audit: dict[str, Any], exported: Path) -> dict[str, Any]:
    """The audit with a ``reason`` at each of its ``float_layers``.

    A runtime names a layer as the graph does, or by its weights (Paddle); several layers may share weights.

    Args:
        audit: see `stages/backends/audit.py`.
        exported: the INT8 ``model.onnx`` that the engine was built from.
    """
    if not audit["float_layers"]:
        return audit
    import onnx

    graph = onnx.load(str(exported)).graph
    makers = {name: node for node in graph.node for name in node.output}
    named: dict[str, Any] = {}
    for node in graph.node:
        if node.op_type in _WEIGHTED:
            named[node.name] = node
            for weights in _chain(node.input[1], makers):
                named.setdefault(weights, node)
    layers = [
        {**layer, "reason": _reason(named.get(layer["name"]), makers) if layer["name"] in named else UNKNOWN}
        for layer in audit["float_layers"]
    ]
    return {**audit, "float_layers": layers}


def _chain(name: str, makers: dict[str, Any]) -> list[str]:
    """A tensor and what it is before its Q/DQ operators."""
    found = [name]
    while (node := makers.get(found[-1])) is not None and node.op_type in _QUANTIZERS:
        found.append(node.input[0])
    return found


def _reason(node: Any, makers: dict[str, Any]) -> str:
    if _behind_softmax(node, makers):
        return TAIL
    quantized = all(len(_chain(name, makers)) > 1 for name in node.input[:2])
    return UNFUSED if quantized else PLAIN


def _behind_softmax(node: Any, makers: dict[str, Any]) -> bool:
    """Whether a Softmax comes before any other layer with weights, going back from a node."""
    waiting, seen = [node.input[0]], set[str]()
    while waiting:
        name = waiting.pop()
        maker = makers.get(name)
        if maker is None or name in seen or maker.op_type in _WEIGHTED:
            continue
        if maker.op_type == "Softmax":
            return True
        seen.add(name)
        waiting += maker.input
    return False
