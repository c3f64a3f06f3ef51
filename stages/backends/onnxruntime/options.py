"""Options of ONNX Runtime (`conf/backend/onnxruntime.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.lowering.names import KNOWN_PASSES, LOWERING
from stages.options.backend import BackendOptions
from stages.options.rules import one_of, option

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


@dataclass
class OnnxRuntimeOptions(BackendOptions):
    """ONNX Runtime, on the CPU or through its CUDA and TensorRT providers."""

    provider: str = option(
        "cpu", one_of(*PROVIDERS), "where it runs; a provider that the installed package lacks is an error"
    )
    lowering: list[str] | None = option(None, KNOWN_PASSES, LOWERING)
    tune: bool = option(
        True,
        doc="while building, time both INT8 kernels of each convolution on this CPU and use the faster one (the "
        "results are the same)",
    )
