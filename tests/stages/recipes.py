"""The recipes of the backends that read ONNX, for tests that run over all of them."""

from __future__ import annotations

from stages.backends.onnxruntime import recipe as onnxruntime
from stages.backends.openvino import recipe as openvino
from stages.backends.tensorrt import recipe as tensorrt

RECIPES = {
    "onnxruntime": onnxruntime.RECIPE,
    "openvino": openvino.INT8_ACTIVATIONS,
    "openvino_uint8": openvino.UINT8_ACTIVATIONS,
    "tensorrt": tensorrt.RECIPE,
}
