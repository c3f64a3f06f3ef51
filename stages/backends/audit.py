"""What an engine really computes in: the share of multiply-adds per number format.

A Q/DQ file is a wish. The runtime decides which layers it fuses to integer kernels, so the audit reads the graph that
the runtime made of the file, never the file itself.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.numerics.audit import Layer, provider_name, summarise

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
_ENDING = "_kernel_time"
_COPIES = ("MemcpyToHost", "MemcpyFromHost")
_WEIGHT_INPUT = {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3, "QLinearConvTranspose": 3}


def audit_onnx(optimized: Path, profile: Path, provider: str | None = None) -> dict[str, Any]:
    """The audit of what ONNX Runtime ran.

    A convolution's multiply-adds are output elements x weight elements / output channels, in every layout (NCHW, NHWC
    and the blocked one, where channels that pad a block count as run). Neither file has it all: the graph has no
    shapes of activations, the profile none of weights that were packed.

    Args:
        optimized: the graph as ONNX Runtime runs it (``SessionOptions.optimized_model_filepath``).
        profile: one run's profile, which names each kernel that ran, with the shapes of its outputs.
        provider: ONNX Runtime's name of the execution provider that was asked for; the audit then has ``devices``, as
            `devices` gives them, with ``share_elsewhere``: what the others have of the multiply-adds.
    """
    graph = Executed.read(optimized)
    layers, elsewhere = [], 0
    events = kernels(profile)
    for event in events:
        found = graph.product(event)
        if found is None:
            continue
        layers.append(found.layer)
        if event["args"].get("provider") != provider:
            elsewhere += layers[-1].multiply_adds
    audit = summarise(layers)
    if provider is not None:
        audit["devices"] = {**_devices(events, provider), "share_elsewhere": elsewhere / audit["multiply_adds"]}
    return audit


@dataclass(frozen=True)
class Product:
    """A layer that multiplies, with the shapes of its result and of its weights."""

    layer: Layer
    output: list[int]
    weight: list[int]


class Executed:
    """The graph that ONNX Runtime made of a file, to look up what a profile's event was."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.nodes = {node.name: node for node in graph.node}
        self._weights = {t.name: list(t.dims) for t in graph.initializer}

    @classmethod
    def read(cls, optimized: Path) -> Executed:
        import onnx

        return cls(onnx.load(str(optimized)).graph)

    def product(self, event: Mapping[str, Any]) -> Product | None:
        """What one of the `kernels` multiplies; ``None`` of one that does not."""
        kind, name = event["args"]["op_name"], name_of(event)
        if kind not in (*_FLOAT, *_INTEGER):
            return None
        ((dtype, output),) = event["args"]["output_type_shape"][0].items()
        position = _WEIGHT_INPUT.get(kind, 1)
        weight = self._weights.get(self.nodes[name].input[position]) if name in self.nodes else None
        if weight is None:  # a product of two activations has no weights
            weight = next(iter(event["args"]["input_type_shape"][position].values()))
        number_format = "int8" if kind in _INTEGER else _TYPES.get(dtype, dtype)
        return Product(Layer(name, kind, number_format, _multiply_adds(kind, output, weight)), output, weight)


def devices(profile: Path, provider: str) -> dict[str, Any]:
    """Where ONNX Runtime ran each node: what a provider has no kernel for goes to the next one without a word.

    Args:
        profile: one run's profile.
        provider: ONNX Runtime's name of the execution provider that was asked for.

    Returns:
        ``nodes``: how many each provider ran; ``elsewhere``: of those that ``provider`` did not run, how many of each
        operator, by provider; ``copies``: how many nodes only bring values from one device to another.
    """
    return _devices(kernels(profile), provider)


def told(found: Mapping[str, Any], provider: str) -> str | None:
    """One sentence on the nodes that ran elsewhere than asked; ``None`` if there are none."""
    if not found["elsewhere"]:
        return None
    parts = []
    for other, kinds in sorted(found["elsewhere"].items()):
        named = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items(), key=lambda x: (-x[1], x[0])))
        parts.append(
            f"{sum(kinds.values())} of {sum(found['nodes'].values())} nodes run on {provider_name(other)} ({named})"
        )
    share = found.get("share_elsewhere")
    work = "" if share is None else f", with {share:.1%} of the multiply-adds"
    return f"{' and '.join(parts)}, not on {provider_name(provider)}{work}; {found['copies']} copies between devices"


def name_of(event: Mapping[str, Any]) -> str:
    """The name of the node that one of the `kernels` belongs to."""
    return str(event["name"]).removesuffix(_ENDING)


def kernels(profile: Path) -> list[dict[str, Any]]:
    """The profile's events of kernels: each has a ``name`` with `_ENDING` and ``args`` with ``op_name``."""
    events = json.loads(profile.read_text())
    return [e for e in events if e["name"].endswith(_ENDING) and e.get("args", {}).get("op_name")]


def _devices(events: Sequence[Mapping[str, Any]], provider: str) -> dict[str, Any]:
    placed = {event["name"]: event["args"] for event in events if event["args"].get("provider")}
    elsewhere: dict[str, Counter[str]] = {}
    for args in placed.values():
        if args["provider"] != provider:
            elsewhere.setdefault(args["provider"], Counter())[args["op_name"]] += 1
    return {
        "nodes": dict(Counter(args["provider"] for args in placed.values())),
        "elsewhere": {name: dict(kinds) for name, kinds in elsewhere.items()},
        "copies": sum(args["op_name"] in _COPIES for args in placed.values()),
    }


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
