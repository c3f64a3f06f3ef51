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
        doc="while building, time both INT8 kernels of each convolution on this CPU, or both layouts of images on this "
        "GPU, and use the faster one (the results are the same)",
    )
    tf32: bool = option(
        False, doc="on a GPU, let FP32 convolutions and matrix products round their factors to TF32 (10 of 23 bits)"
    )
    cuda_graph: bool = option(
        True,
        doc="with `provider=cuda`, launch all kernels at once as a CUDA graph, with buffers that stay on the GPU; an "
        "engine with nodes that run elsewhere is launched kernel by kernel, and the build says so",
    )
