"""Options of TensorRT and TensorRT for RTX (`conf/backend/tensorrt.yaml`, `tensorrt_rtx.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.backend import BackendOptions


@dataclass
class TensorRtOptions(BackendOptions):
    """TensorRT, and TensorRT for RTX."""

    fp16: bool = False
    """Compute in FP16 what is not INT8 (TensorRT 8.6 to 10, whose builder has a flag for it)."""
    tf32: bool = False
    """Let FP32 convolutions round their factors to TF32."""
    pinned: bool = True
    """Page-locked host buffers for inputs and outputs."""
    cuda_graph: bool = False
    """Launch copies and engine as one CUDA graph (needs ``pinned``)."""
    optimization_level: int = 3
    """How long the builder searches: 0 to 5."""
    workspace_mb: int | None = None
    """Most scratch memory of a layer; ``None``: what the GPU has."""
    timing_cache: str | None = None
    """Folder of timing caches, one per GPU, driver and version; ``None``: none is kept."""
    lowering: list[str] | None = None
    """Names of the graph passes applied to the INT8 model; ``None``: the recipe of the backend."""
