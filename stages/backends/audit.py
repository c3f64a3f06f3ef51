"""What an engine really computes in: the share of multiply-adds per number format.

A Q/DQ file is a wish. The runtime decides which layers it fuses to integer kernels, so the audit reads the graph that
the runtime made of the file, never the file itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from stages.numerics.audit import Layer, summarise

_FLOAT = ("Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "NhwcFusedConv")
_INTEGER = (
    "QLinearConv",
    "QLinearMatMul",
    "QLinearConvTranspose",
    "ConvInteger",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "QGemm",
)
# Where the weights stand among the inputs (the quantized kinds interleave scales and zero points).
_TYPES = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_WEIGHT_INPUT = {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3, "QLinearConvTranspose": 3}


def audit_onnx(optimized: Path, profile: Path) -> dict[str, Any]:
    """The audit of what ONNX Runtime ran.

    A convolution's multiply-adds are output elements x weight elements / output channels, in every layout (NCHW, NHWC
    and the blocked one, where channels that pad a block count as run). Neither file has it all: the graph has no
    shapes of activations, the profile none of weights that were packed.

    Args:
        optimized: the graph as ONNX Runtime runs it (``SessionOptions.optimized_model_filepath``).
        profile: one run's profile, which names each kernel that ran, with the shapes of its outputs.
    """
    import onnx

    graph = onnx.load(str(optimized)).graph
    weights = {t.name: list(t.dims) for t in graph.initializer}
    nodes = {node.name: node for node in graph.node}
    ending = "_kernel_time"
    layers = []
    for event in json.loads(profile.read_text()):
        kind = event.get("args", {}).get("op_name", "")
        if not event["name"].endswith(ending) or kind not in (*_FLOAT, *_INTEGER):
            continue
        name = event["name"].removesuffix(ending)
        ((dtype, output),) = event["args"]["output_type_shape"][0].items()
        position = _WEIGHT_INPUT.get(kind, 1)
        weight = weights.get(nodes[name].input[position]) if name in nodes else None
        if weight is None:  # a product of two activations has no weights
            weight = next(iter(event["args"]["input_type_shape"][position].values()))
        number_format = "int8" if kind in _INTEGER else _TYPES.get(dtype, dtype)
        layers.append(Layer(name, kind, number_format, _multiply_adds(kind, output, weight)))
    return summarise(layers)


def _multiply_adds(kind: str, output: list[int], weight: list[int]) -> int:
    outputs = int(np.prod(output))
    if "Conv" in kind:
        return outputs * int(np.prod(weight)) // weight[0]
    # A matrix product: each output sums over the weight's inner dimension. Gemm with transB has it last, which
    # differs from the first only when the matrix is not square; the output's width tells which one it is.
    if len(weight) == 1:
        return outputs * weight[0]
    inner = weight[-1] if "Gemm" in kind and weight[-1] != output[-1] else weight[-2]
    return outputs * inner
