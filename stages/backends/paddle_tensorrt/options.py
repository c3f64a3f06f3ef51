"""Options of Paddle-TensorRT (`conf/backend/paddle_tensorrt.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.backends.paddle_inference.options import KNOWN_PASSES, PASSES_DOC
from stages.options.backend import BackendOptions
from stages.options.rules import POSITIVE, between, option


@dataclass
class PaddleTensorRtOptions(BackendOptions):
    """Paddle Inference with TensorRT subgraphs, on an NVIDIA GPU."""

    fp16: bool = option(
        False,
        doc="compute the FP32 engine in FP16 (better: the variant `fp16` beside it); INT8 engines use FP16 for what is "
        "not INT8 in any case",
    )
    min_subgraph_size: int = option(
        3, POSITIVE, "fewest operators that get an engine of their own; smaller parts stay with Paddle"
    )
    workspace_mb: int = option(1024, POSITIVE, "largest scratch memory of TensorRT, in MB")
    optimization_level: int = option(
        3, between(0, 5), "how long TensorRT searches for fast kernels (TensorRT 8.6 and later)"
    )
    passes: list[str] | None = option(None, KNOWN_PASSES, PASSES_DOC)
