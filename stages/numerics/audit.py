"""The number formats that the layers of an engine compute in, and their shares of the multiply-adds."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from stages.errors import StageError

FORMATS = ("int8", "fp16", "bf16", "fp32")


@dataclass(frozen=True)
class Layer:
    """One layer that multiplies: its name, number format and multiply-adds per run."""

    name: str
    kind: str
    number_format: str
    multiply_adds: int


def provider_name(provider: str) -> str:
    """``CUDA`` for ONNX Runtime's ``CUDAExecutionProvider``."""
    return provider.removesuffix("ExecutionProvider")


def summarise(layers: list[Layer]) -> dict[str, Any]:
    """The audit as it stands in ``Engine.notes``.

    Keys: ``int8_share`` and ``share`` (per format) of multiply-adds, ``multiply_adds`` in total, ``layers`` counted
    per format, and ``float_layers``: those not in INT8, largest first, with their share
    (`stages/build/reasons.py` adds why).
    """
    total = sum(layer.multiply_adds for layer in layers)
    if total == 0:
        raise StageError("the audit found no convolution or matrix product in the engine; is the model a detector?")
    work: dict[str, int] = defaultdict(int)
    count: dict[str, int] = defaultdict(int)
    for layer in layers:
        work[layer.number_format] += layer.multiply_adds
        count[layer.number_format] += 1
    left = sorted((x for x in layers if x.number_format != "int8"), key=lambda x: -x.multiply_adds)
    return {
        "int8_share": work["int8"] / total,
        "share": {name: work[name] / total for name in (*FORMATS, *sorted(set(work) - set(FORMATS))) if work[name]},
        "multiply_adds": total,
        "layers": dict(count),
        "float_layers": [
            {"name": x.name, "kind": x.kind, "format": x.number_format, "share": x.multiply_adds / total} for x in left
        ],
    }
