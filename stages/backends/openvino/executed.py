"""The graph that OpenVINO made of an engine: what each node computes in, and what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.backends.profiled import Profiled, ProfiledLayer, convolution, product
from stages.numerics.audit import Layer, summarise

_FORMATS = {"i8": "int8", "u8": "int8", "f16": "fp16", "bf16": "bf16", "f32": "fp32"}
_MATRICES = ("FullyConnected", "MatMul")
_PRODUCTS = ("Convolution", "GroupConvolution", "Deconvolution", *_MATRICES)


def audit_openvino(compiled: Any) -> dict[str, Any]:
    """The audit of the execution graph: each node there names the number format it runs in (``runtimePrecision``)."""
    return summarise([found for node in compiled.get_runtime_model().get_ops() if (found := _layer(node)) is not None])


def read_counts(compiled: Any, counts: Sequence[Mapping[str, float]]) -> Profiled:
    """The nodes of the execution graph with what they took.

    Args:
        counts: of each run, the milliseconds of the nodes by their names, of which constants have none.
    """
    layers, ends = [], []
    for node in compiled.get_runtime_model().get_ops():
        name, found = node.get_friendly_name(), _layer(node)
        reads = [node.input_value(i).get_node().get_friendly_name() for i in range(node.get_input_size())]
        if node.get_type_name() == "Result":
            ends += reads
        layers.append(
            ProfiledLayer(
                name,
                _told(node, "layerType"),
                [of.get(name, 0.0) for of in counts],
                reads,
                [name],
                found.number_format if found else None,
                found.multiply_adds if found else None,
                _shape(node) if found else "",
            )
        )
    return Profiled(layers, ends)


def _told(node: Any, key: str) -> str:
    return str(node.rt_info[key].value) if key in node.rt_info else ""


def _layer(node: Any) -> Layer | None:
    """What a node multiplies; ``None`` of one that does not.

    The execution graph has no weights' shapes, so multiply-adds of a convolution come from the shape of its weight
    input, which stands as a constant parent.
    """
    kind = _told(node, "layerType")
    if kind not in _PRODUCTS:
        return None
    output = [int(d) for d in node.get_output_shape(0)]
    weight = [int(d) for d in node.get_input_shape(1)]
    name = _told(node, "runtimePrecision").lower()
    outputs = int(np.prod(output))
    if kind in _MATRICES:
        each = int(node.get_input_shape(0)[-1])
    elif kind == "GroupConvolution":
        each = int(np.prod(weight[2:]))  # [groups, out / groups, in / groups, ...]
    else:
        each = int(np.prod(weight[1:]))
    return Layer(node.get_friendly_name(), kind, _FORMATS.get(name, name or "unknown"), outputs * each)


def _shape(node: Any) -> str:
    output = [int(d) for d in node.get_output_shape(0)]
    weight = [int(d) for d in node.get_input_shape(1)]
    if len(output) != 4 or _told(node, "layerType") in _MATRICES:
        return product(int(node.get_input_shape(0)[-1]), output)
    groups = weight[0] if len(weight) == 5 else 1
    return convolution(weight[-2:], weight[-3] * groups, output[1], output[2:], groups)
