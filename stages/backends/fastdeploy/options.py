"""Options of FastDeploy (`conf/backend/fastdeploy.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.backends.onnxruntime import recipe as onnxruntime
from stages.backends.openvino import recipe as openvino
from stages.backends.tensorrt import recipe as tensorrt
from stages.lowering.names import KNOWN_PASSES
from stages.options.backend import BackendOptions
from stages.options.rules import one_of, option

RUNTIMES = {  # option -> the graph passes of INT8; None: Paddle's own program, as it is exported
    "ort": onnxruntime.RECIPE,
    "openvino": openvino.INT8_ACTIVATIONS,
    "tensorrt": tensorrt.RECIPE,
    "paddle": None,
    "paddle_tensorrt": None,
}


@dataclass
class FastDeployOptions(BackendOptions):
    """FastDeploy 1.0.x: one interface over the runtimes that its package brings."""

    runtime: str = option("ort", one_of(*RUNTIMES), "the runtime that computes")
    device: str = option(
        "cpu", one_of("cpu", "gpu"), "`cpu`, or `gpu`, which both TensorRTs need and OpenVINO cannot use"
    )
    fp16: bool = option(False, doc="compute in FP16 what is not INT8 (both TensorRTs only)")
    pinned: bool = option(
        False, doc="page-locked host buffers (`tensorrt`, `paddle` and `paddle_tensorrt` on a GPU; for outputs only)"
    )
    lowering: list[str] | None = option(
        None,
        KNOWN_PASSES,
        "names of the graph passes applied to the INT8 model, in order; null: the recipe of the runtime; not for "
        "Paddle's runtimes",
    )
