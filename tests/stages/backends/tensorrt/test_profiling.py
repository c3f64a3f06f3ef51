"""TensorRT's profiler on a stand-in that calls it as TensorRT does: once a layer and run. It never ran on a GPU."""

from __future__ import annotations

import importlib.util
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.backends.base import GpuSession
from stages.backends.tensorrt.profiling import ProfilingSession
from stages.errors import UnavailableError
from stages.profiling.groups import groups_of
from tests.stages.backends.tensorrt.test_backend import HostCuda, HostEngine


def tensor(name: str, kind: str, *shape: int) -> dict[str, Any]:
    return {"Name": name, "Dimensions": list(shape), "Format/Datatype": kind}


LAYERS = [
    {"Name": "Reformatting CopyNode for Input Tensor 0", "LayerType": "Reformat",
     "Inputs": [tensor("x", "Row major linear FP32", 1, 32, 10, 10)],
     "Outputs": [tensor("x8", "Int8", 1, 32, 10, 10)]},
    {"Name": "conv + silu", "LayerType": "CaskConvolution", "Inputs": [tensor("x8", "Int8", 1, 32, 10, 10)],
     "Outputs": [tensor("body", "Int8", 1, 64, 10, 10)], "OutMaps": 64, "Kernel": [3, 3], "Groups": 1,
     "Weights": {"Type": "Int8", "Count": 64 * 32 * 9}},
    {"Name": "boxes", "LayerType": "Shuffle", "Inputs": [tensor("body", "Int8", 1, 64, 10, 10)],
     "Outputs": [tensor("y", "Row major linear FP32", 1, 64, 100)]},
    {"Name": "scores", "LayerType": "PointWiseV2", "Inputs": [tensor("body", "Int8", 1, 64, 10, 10)],
     "Outputs": [tensor("z", "Row major linear FP32", 1, 64, 100)]},
]  # fmt: skip
TOOK = {
    "Reformatting CopyNode for Input Tensor 0": 0.25,
    "conv + silu": 2.0,
    "boxes": 0.5,
    "scores": 0.5,
    "Reformat of y": 0.125,
}


class Engine(HostEngine):
    """It tells what each layer took at the end of every run, if somebody wants to hear."""

    profiler: Any = None

    def create_execution_context(self) -> Engine:
        return self

    def create_engine_inspector(self) -> Any:
        return SimpleNamespace(get_engine_information=lambda form: json.dumps({"Layers": LAYERS}))

    def execute_async_v3(self, stream: int) -> bool:
        done = super().execute_async_v3(stream)
        for name, ms in TOOK.items() if self.profiler is not None else ():
            self.profiler.report_layer_time(name, ms)
        return done


class Profiler:
    """As TensorRT's base class: it has to be initialized before it can be set."""

    ready = False

    def __init__(self) -> None:
        self.ready = True


TRT = SimpleNamespace(
    __name__="tensorrt", __version__="10.13.3", IProfiler=Profiler,
    TensorIOMode=SimpleNamespace(INPUT="INPUT"), LayerInformationFormat=SimpleNamespace(JSON="json"),
)  # fmt: skip


def test_every_layer_of_every_run_is_told_with_what_the_inspector_knows() -> None:
    cuda = HostCuda()
    session = ProfilingSession(TRT, Engine(cuda), cuda, ["y", "z"])
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for _ in range(3):
        assert np.array_equal(session.infer({"x": x})[0], 2 * x)
    assert isinstance(session, GpuSession) and session._times.ready
    found = session.profiled()
    assert {layer.name: list(layer.ms) for layer in found.layers} == {name: [ms] * 3 for name, ms in TOOK.items()}
    assert found.ends == ["y", "z"]
    conv = found.layers[1]
    assert (conv.number_format, conv.multiply_adds) == ("int8", 100 * 64 * 32 * 9)
    assert conv.shape == "3×3, 32 → 64, 10×10" and found.layers[2].multiply_adds is None
    # What moves data and is not listed by the inspector is known by its name.
    assert groups_of(found) == ["layout", "convolutions", "tail", "tail", "tail"]
    session.close()
    assert cuda.memory == {}


def test_a_version_without_a_profiler_says_so_and_keeps_no_memory() -> None:
    cuda = HostCuda()
    old = SimpleNamespace(__name__="tensorrt_x", __version__="1.0", TensorIOMode=TRT.TensorIOMode)
    with pytest.raises(UnavailableError, match=r"tensorrt_x 1\.0 has no IProfiler"):
        ProfilingSession(old, Engine(cuda), cuda, ["y", "z"])
    assert cuda.memory == {}


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed")
def test_the_names_are_those_of_the_real_bindings() -> None:
    import tensorrt_rtx as trt

    assert callable(trt.IProfiler.report_layer_time) and hasattr(trt.IExecutionContext, "profiler")
    assert hasattr(trt.ICudaEngine, "create_engine_inspector") and hasattr(trt.LayerInformationFormat, "JSON")
