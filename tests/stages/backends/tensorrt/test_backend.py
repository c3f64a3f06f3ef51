"""TensorRT: names against the real bindings, the real builder where there is one, the session on a stand-in."""

from __future__ import annotations

import ast
import ctypes
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages import backends
from stages.artifacts import Engine, Precision
from stages.backends.base import Available, GpuSession, Unavailable
from stages.backends.tensorrt.backend import NO_GPU
from stages.backends.tensorrt.building import network_flags
from stages.backends.tensorrt.cuda import TO_DEVICE, TO_HOST
from stages.backends.tensorrt.options import TensorRtOptions
from stages.backends.tensorrt.session import TensorRtSession
from stages.build.build import Build, BuildInputs
from stages.errors import ConfigError, StageError, UnavailableError
from stages.options.backend import BuildOptions
from tests.conftest import ROOT
from tests.fakes import FakeContext
from tests.stages.engines import CLASSES, SIZE, exported

NAMES = Path(__file__).with_name("tensorrt_names.json")
"""Version -> the names of its bindings, of those that the code uses or used (read off the bindings' wheels)."""
GUARDED = {"STRONGLY_TYPED", "EXPLICIT_BATCH", "FP16", "INT8", "TF32"}
"""Asked for with hasattr before they are used."""
BINDINGS = {"trt", "builder", "network", "parser", "config", "layer", "layers", "engine", "runtime", "flags", "kinds"}


def bindings_names(file: Path) -> set[str]:
    """Names that ``file`` takes from the bindings: ``root.a.b`` with a root of ``BINDINGS``, or ``self._context``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        chain: list[str] = []
        while isinstance(node, (ast.Attribute, ast.Call)):
            if isinstance(node, ast.Attribute):
                chain.append(node.attr)
                node = node.value
            else:
                node = node.func
        if isinstance(node, ast.Name) and node.id in BINDINGS:
            found.update(chain)
        elif chain and chain[-1] == "_context":
            found.update(chain[:-1])
    return {name for name in found if not name.startswith("__")}


def test_every_name_is_one_of_the_bindings() -> None:
    folder = ROOT / "stages" / "backends" / "tensorrt"
    used = bindings_names(folder / "building.py") | bindings_names(folder / "session.py")
    used -= {"split"}  # of a version
    assert {"OnnxParser", "build_serialized_network", "execute_async_v3", "set_tensor_address"} <= used
    for version, names in json.loads(NAMES.read_text()).items():
        assert used - GUARDED <= set(names), version


@pytest.mark.parametrize(
    ("module", "version", "flags", "expected"),
    [
        ("tensorrt", "8.6.1", {"EXPLICIT_BATCH": 0}, 1),
        ("tensorrt", "10.13.3", {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}, 2),
        ("tensorrt", "11.4.0", {"STRONGLY_TYPED": 1}, 2),
        ("tensorrt_rtx", "1.7.1", {"STRONGLY_TYPED": 1}, 2),
    ],
)
def test_networks_are_strongly_typed_where_the_version_can(
    module: str, version: str, flags: dict[str, int], expected: int
) -> None:
    trt = SimpleNamespace(__name__=module, __version__=version, NetworkDefinitionCreationFlag=SimpleNamespace(**flags))
    assert network_flags(trt, strongly_typed=True) == expected


def test_options_that_contradict_each_other_are_all_named() -> None:
    with pytest.raises(ConfigError) as caught:
        backends.get("tensorrt").availability(TensorRtOptions(cuda_graph=True, pinned=False, optimization_level=9))
    assert len(caught.value.problems) == 2


def test_what_needs_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "stages.backends.tensorrt.backend.version_of", lambda name: "10.13.3" if name == "tensorrt" else None
    )
    monkeypatch.setattr("stages.backends.tensorrt.backend.nvidia_driver", lambda: None)
    assert backends.get("tensorrt").availability() == Unavailable(NO_GPU)
    missing = backends.get("tensorrt_rtx").availability()
    assert isinstance(missing, Unavailable) and "detpress[tensorrt-rtx]" in missing.install
    monkeypatch.setattr("stages.backends.tensorrt.backend.version_of", lambda name: "1.7.1")
    state = backends.get("tensorrt_rtx").availability()
    assert isinstance(state, Available) and not state.can_run and NO_GPU in state.detail


# --- the real builder ------------------------------------------------------------------------------------------

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed: detpress[tensorrt-rtx]"
)


def build(precision: Precision, folder: Path, batch: int = 1, **options: Any) -> Engine:
    model = exported(folder / "model", precision, batch)
    context = FakeContext(folder / "stage")
    return Build(BuildOptions(backend="tensorrt_rtx", options=options)).run(BuildInputs(model=model), context)


@needs_rtx
def test_every_name_is_one_of_the_module_that_is_installed() -> None:
    import tensorrt_rtx

    real = set(dir(tensorrt_rtx))
    for thing in vars(tensorrt_rtx).values():
        real |= set(dir(thing)) if isinstance(thing, type) else set()
    folder = ROOT / "stages" / "backends" / "tensorrt"
    used = bindings_names(folder / "building.py") | bindings_names(folder / "session.py")
    used |= {"Runtime", "deserialize_cuda_engine", "create_timing_cache"}
    assert used - GUARDED - {"split", "version"} <= real


@needs_rtx
@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("precision", list(Precision))
def test_nvidias_builder_takes_the_lowered_graph(precision: Precision, batch: int, tmp_path: Path) -> None:
    engine = build(precision, tmp_path, batch)
    audit = engine.notes["audit"]
    assert audit["int8_share"] == (1 if precision is Precision.INT8 else 0) and audit["read_from"] == "network"
    assert audit["multiply_adds"] == batch * SIZE * SIZE * 9 * (3 * 16 + 16 * (4 + CLASSES))
    assert engine.path(engine.main).stat().st_size > 10_000


@needs_rtx
@pytest.mark.parametrize(
    ("precision", "variant", "number_format"),
    [(Precision.FP32, "fp16", "fp16"), (Precision.INT8, "int8_fp16", "int8")],
)
def test_fp16_is_written_into_the_network_where_there_is_no_flag(
    precision: Precision, variant: str, number_format: str, tmp_path: Path
) -> None:
    engine = build(precision, tmp_path, variants=[variant])
    assert engine.precision == variant and engine.notes["passes"][-1]["name"] == "to_half"
    assert engine.notes["audit"]["share"] == {number_format: 1}
    if precision is Precision.FP32:
        assert build(precision, tmp_path / "fp32").notes["audit"]["share"] == {"fp32": 1}


@needs_rtx
def test_without_a_gpu_opening_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = build(Precision.FP32, tmp_path)
    monkeypatch.setattr("stages.backends.tensorrt.backend.nvidia_driver", lambda: None)
    with pytest.raises(UnavailableError, match="cannot run: this machine has no NVIDIA GPU"), \
            backends.get("tensorrt_rtx").open(engine):  # fmt: skip
        pass


@needs_rtx
def test_the_file_as_it_is_exported_is_refused_with_the_parsers_reason(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="tensorrt_rtx"):
        build(Precision.INT8, tmp_path, lowering=[])


@needs_rtx
def test_a_flag_that_the_version_lacks_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fp16"):
        build(Precision.INT8, tmp_path, fp16=True)


# --- the session, on a stand-in for CUDA -----------------------------------------------------------------------


class HostCuda:
    """`Cuda` whose device is the host's memory; what it is asked for is kept in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.memory: dict[int, Any] = {}
        self.recording: list[Any] | None = None
        self.engine: Any = None

    def device_memory(self, size: int) -> int:
        block = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    pinned_memory = device_memory

    def free_device(self, address: int) -> None:
        del self.memory[address]

    free_pinned = free_device

    def stream(self) -> int:
        return 7

    def do(self, name: str, work: Any) -> None:
        if self.recording is not None:
            self.recording.append(work)
        else:
            self.calls.append(name)
            work()

    def copy(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        assert stream == 7
        name = {TO_DEVICE: "in", TO_HOST: "out"}[kind]
        self.do(name, lambda: ctypes.memmove(target, source, size))

    def wait(self, stream: int) -> None:
        self.calls.append("wait")

    def begin_capture(self, stream: int) -> None:
        self.recording = []

    def end_capture(self, stream: int) -> int:
        self.graph, self.recording = self.recording, None
        return 3

    def launch(self, graph: int, stream: int) -> None:
        assert graph == 3 and self.graph
        self.calls.append("launch")
        for work in self.graph:
            work()


class HostEngine:
    """y = 2 x and z = x + 1, for x float32 [2, 3]."""

    names = ("x", "z", "y")
    num_io_tensors = 3

    def __init__(self, cuda: HostCuda) -> None:
        self.cuda, self.address = cuda, dict[str, int]()

    def get_tensor_name(self, i: int) -> str:
        return self.names[i]

    def get_tensor_shape(self, name: str) -> tuple[int, int]:
        return (2, 3)

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if name == "x" else "OUTPUT"

    def create_execution_context(self) -> HostEngine:
        return self

    def set_tensor_address(self, name: str, address: int) -> None:
        self.address[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        def work() -> None:
            x, y, z = (np.ctypeslib.as_array((ctypes.c_float * 6).from_address(self.address[n])) for n in "xyz")
            y[...], z[...] = 2 * x, x + 1

        self.cuda.do("run", work)
        return True


TRT = SimpleNamespace(TensorIOMode=SimpleNamespace(INPUT="INPUT"))
RUN = {
    (False, False): ["in", "run", "out", "out", "wait"],
    (True, False): ["in", "run", "out", "out", "wait"],
    (True, True): ["launch", "wait"],
}


@pytest.mark.parametrize(("pinned", "graph"), list(RUN))
def test_a_session_copies_runs_and_waits(pinned: bool, graph: bool) -> None:
    cuda = HostCuda()
    session = TensorRtSession(TRT, HostEngine(cuda), cuda, ["y", "z"], pinned, graph)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    cuda.calls.clear()
    first = session.infer({"x": x})
    assert cuda.calls == RUN[pinned, graph]
    second = session.infer({"x": -x})
    assert np.array_equal(first[0], 2 * x) and np.array_equal(first[1], x + 1)
    assert np.array_equal(second[0], -2 * x) and np.array_equal(second[1], 1 - x)
    assert len(cuda.memory) == (6 if pinned else 3)  # page-locked memory for inputs and outputs
    session.close()
    assert cuda.memory == {}


class ByteEngine(HostEngine):
    """y = the bytes of x as int32, for x uint8 [2, 3]."""

    names = ("x", "y")
    num_io_tensors = 2

    def execute_async_v3(self, stream: int) -> bool:
        def work() -> None:
            x = np.ctypeslib.as_array((ctypes.c_ubyte * 6).from_address(self.address["x"]))
            np.ctypeslib.as_array((ctypes.c_int32 * 6).from_address(self.address["y"]))[...] = x

        self.cuda.do("run", work)
        return True


@pytest.mark.parametrize(("pinned", "graph"), list(RUN))
def test_what_is_no_float_keeps_its_type(pinned: bool, graph: bool) -> None:
    cuda = HostCuda()
    session = TensorRtSession(TRT, ByteEngine(cuda), cuda, ["y"], pinned, graph, {"x": np.uint8, "y": np.int32})
    x = np.uint8([[0, 1, 2], [250, 251, 255]])
    (found,) = session.infer({"x": x})
    assert found.dtype == np.int32 and found.tolist() == x.tolist()
    for _, call in session.steps({"x": x}):
        call()
    session.close()
    assert cuda.memory == {}


@pytest.mark.parametrize("pinned", [False, True])
def test_the_parts_of_a_run_each_wait(pinned: bool) -> None:
    cuda = HostCuda()
    session = TensorRtSession(TRT, HostEngine(cuda), cuda, ["y", "z"], pinned)
    assert isinstance(session, GpuSession)
    cuda.calls.clear()
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    names = []
    for name, call in session.steps({"x": x}):
        names.append(name)
        call()
    assert names == ["host_to_device", "compute", "device_to_host"]
    assert cuda.calls == ["in", "wait", "run", "wait", "out", "out", "wait"]
    assert np.array_equal(session.infer({"x": x})[0], 2 * x)  # and the session is as good as before


def test_a_session_names_an_output_that_is_not_there() -> None:
    cuda = HostCuda()
    with pytest.raises(StageError, match="no output 'boxes'"):
        TensorRtSession(TRT, HostEngine(cuda), cuda, ["boxes"])
