"""Options of FastDeploy (`conf/backend/fastdeploy.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.backend import BackendOptions


@dataclass
class FastDeployOptions(BackendOptions):
    """FastDeploy 1.0.x: one interface over the runtimes that its package brings."""

    runtime: str = "ort"
    """``ort``, ``openvino``, ``paddle``, ``tensorrt`` or ``paddle_tensorrt``."""
    device: str = "cpu"
    """``cpu``, or ``gpu`` (which both TensorRTs need, and OpenVINO cannot use)."""
    fp16: bool = False
    """Compute in FP16 what is not INT8 (both TensorRTs only)."""
    pinned: bool = False
    """Page-locked host buffers (FastDeploy knows them for ``tensorrt`` and ``paddle`` on a GPU; for outputs only)."""
    lowering: list[str] | None = None
    """Names of the graph passes applied to the INT8 model; ``None``: the recipe of the runtime. Not for Paddle's."""
