"""Options of ONNX Runtime (`conf/backend/onnxruntime.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.backend import BackendOptions


@dataclass
class OnnxRuntimeOptions(BackendOptions):
    """ONNX Runtime."""

    provider: str = "cpu"
    lowering: list[str] | None = None
    """Names of the graph passes applied to the INT8 model; ``None``: the recipe of the backend."""
    tune: bool = True
    """Time both of the runtime's INT8 kernels for each convolution on this CPU, and use the faster (same numbers)."""
