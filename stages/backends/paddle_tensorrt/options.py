"""Options of Paddle-TensorRT (`conf/backend/paddle_tensorrt.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.backend import BackendOptions


@dataclass
class PaddleTensorRtOptions(BackendOptions):
    """Paddle Inference with TensorRT subgraphs, on an NVIDIA GPU."""

    fp16: bool = False
    """Compute the FP32 engine in FP16. In INT8 engines Paddle lets TensorRT use FP16 for what is not INT8 anyway."""
    min_subgraph_size: int = 3
    """Fewest operators that are worth an engine of their own; smaller parts stay with Paddle."""
    workspace_mb: int = 1024
    """Most scratch memory of TensorRT."""
    optimization_level: int = 3
    """How long TensorRT searches: 0 to 5 (TensorRT 8.6 and later)."""
    passes: list[str] | None = None
    """Names of the passes of ``stages/paddle/inference/lowering.py``; ``None``: the recipe of the precision."""
