"""Options of TensorRT and TensorRT for RTX (`conf/backend/tensorrt.yaml`, `tensorrt_rtx.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.lowering.names import KNOWN_PASSES, LOWERING
from stages.options.backend import BackendOptions
from stages.options.rules import POSITIVE, between, option


@dataclass
class TensorRtOptions(BackendOptions):
    """TensorRT, and TensorRT for RTX."""

    fp16: bool = option(
        False,
        doc="let every engine compute in FP16 what is not INT8 (TensorRT 8.6 to 10, whose builder has a flag for it); "
        "better named by `variants` (`fp16`, `int8_fp16`), which compares it with FP32",
    )
    tf32: bool = option(False, doc="let FP32 convolutions round their factors to TF32")
    pinned: bool | None = option(
        None, doc="page-locked host buffers for inputs and outputs of every engine; null: of the variants with `_pm`"
    )
    cuda_graph: bool = option(False, doc="launch copies and every engine as one CUDA graph, with page-locked buffers")
    optimization_level: int = option(3, between(0, 5), "how long the builder searches for fast kernels")
    workspace_mb: int | None = option(
        None, POSITIVE, "largest scratch memory of a layer, in MB; null: what the GPU has"
    )
    timing_cache: str | None = option(
        None, doc="folder of timing caches, one for each GPU, driver and version; null: none is kept"
    )
    lowering: list[str] | None = option(None, KNOWN_PASSES, LOWERING)
