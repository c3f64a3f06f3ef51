"""The runtimes that engines are built for, by name.

A backend is a folder with `options.py` (its options, light to import), `backend.py` (the class that `base.Backend`
describes) and, if it builds from ONNX, `recipe.py` (the graph passes that its INT8 engines want), and a row in the
table below. Other distributions add one with an entry point in the group ``detpress.backends``. `detector.py` runs
the engine of any backend on images.
"""

from __future__ import annotations

import importlib
import importlib.metadata

from stages.backends.base import Available, Backend, Session, Unavailable
from stages.errors import ConfigError

GROUP = "detpress.backends"

_OWN = {
    "onnxruntime": "stages.backends.onnxruntime.backend:OnnxRuntime",
    "openvino": "stages.backends.openvino.backend:OpenVino",
    "tensorrt": "stages.backends.tensorrt.backend:TensorRt",
    "tensorrt_rtx": "stages.backends.tensorrt.backend:TensorRtRtx",
    "paddle_inference": "stages.backends.paddle_inference.backend:PaddleInference",
    "paddle_tensorrt": "stages.backends.paddle_tensorrt.backend:PaddleTensorRt",
    "fastdeploy": "stages.backends.fastdeploy.backend:FastDeploy",
}

__all__ = ["GROUP", "Available", "Backend", "Session", "Unavailable", "get", "names"]


def names() -> list[str]:
    """The names of all backends: the project's own first, then those that entry points add."""
    return [*_OWN, *sorted(name for name in _foreign() if name not in _OWN)]


def get(name: str) -> Backend:
    """The backend called ``name``. Raises ConfigError for a name nobody has registered."""
    if name in _OWN:
        module, _, attribute = _OWN[name].partition(":")
        found: Backend = getattr(importlib.import_module(module), attribute)()
        return found
    foreign = _foreign()
    if name not in foreign:
        raise ConfigError([f"backend {name!r} is not known; there are {', '.join(names())}"])
    made = foreign[name].load()()
    if not isinstance(made, Backend):
        raise ConfigError([f"backend {name!r} ({foreign[name].value}) lacks parts of stages.backends.base.Backend"])
    return made


def _foreign() -> dict[str, importlib.metadata.EntryPoint]:
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}
