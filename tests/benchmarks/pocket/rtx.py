"""The NVIDIA driver by ctypes, and engines of TensorRT for RTX on it. Needs Python and numpy, and the driver to run."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from missing import Missing


class Driver:
    """The few functions of libcuda that a run needs; every call is checked.

    Raises:
        OSError: there is no driver.
        RuntimeError: a call failed.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        self.call("cuInit", 0)

    def cuda_version(self) -> str:
        version = ctypes.c_int()
        self.call("cuDriverGetVersion", ctypes.byref(version))
        return f"{version.value // 1000}.{version.value % 1000 // 10}"

    def gpus(self) -> list[dict[str, str]]:
        count = ctypes.c_int()
        self.call("cuDeviceGetCount", ctypes.byref(count))
        found = []
        for number in range(count.value):
            device, name = self._device(number), ctypes.create_string_buffer(256)
            self.call("cuDeviceGetName", name, 256, device)
            capability = ".".join(str(self._attribute(device, which)) for which in (75, 76))  # major, minor
            found.append({"name": name.value.decode(errors="replace"), "capability": capability})
        return found

    def begin(self) -> None:
        """Make the first GPU's own context the current one."""
        context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device(0))
        self.call("cuCtxSetCurrent", context)

    def memory(self, size: int) -> int:
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return int(address.value)

    def copy_in(self, address: int, values: np.ndarray) -> None:
        source = ctypes.c_void_p(values.ctypes.data)
        self.call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), source, ctypes.c_size_t(values.nbytes))

    def copy_out(self, values: np.ndarray, address: int) -> None:
        target = ctypes.c_void_p(values.ctypes.data)
        self.call("cuMemcpyDtoH_v2", target, ctypes.c_uint64(address), ctypes.c_size_t(values.nbytes))

    def stream(self) -> int:
        stream = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(stream), 0)
        return int(stream.value or 0)

    def wait(self, stream: int) -> None:
        self.call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(code, ctypes.byref(text))
            raise RuntimeError(f"{name} failed: {(text.value or b'unknown error').decode()}")

    def _device(self, number: int) -> ctypes.c_int:
        device = ctypes.c_int()
        self.call("cuDeviceGet", ctypes.byref(device), number)
        return device

    def _attribute(self, device: ctypes.c_int, which: int) -> int:
        value = ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(value), which, device)
        return value.value


def module() -> Any:
    """TensorRT for RTX, by its own name or by that of the bindings alone."""
    try:
        import tensorrt_rtx_bindings as trt
    except (ImportError, OSError) as error:
        raise Missing(f"TensorRT for RTX cannot be imported ({error})") from error
    return trt


def build(trt: Any, model: bytes) -> tuple[bytes, Any]:
    """A serialized engine of an ONNX graph, in the types of the graph; and the logger, which has to outlive it."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    flags = trt.NetworkDefinitionCreationFlag
    strong = 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0
    network = builder.create_network(strong)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        raise RuntimeError(f"its parser refuses the graph: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    if hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise RuntimeError("it cannot build the engine; its message stands above")
    return bytes(engine), logger


class Engine:
    """A graph, built and loaded on the first GPU; pageable host buffers."""

    def __init__(self, model: bytes) -> None:
        trt = module()
        content, self._logger = build(trt, model)
        self._driver = Driver()
        self._driver.begin()
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise RuntimeError("TensorRT for RTX refuses to load an engine on this GPU")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise RuntimeError("TensorRT for RTX makes no execution context on this GPU")
        self._stream, self._memory, self._shapes = self._driver.stream(), {}, {}
        for number in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(number)
            self._shapes[name] = tuple(self._engine.get_tensor_shape(name))
            self._memory[name] = self._driver.memory(4 * int(np.prod(self._shapes[name])))
            self._context.set_tensor_address(name, self._memory[name])

    def run(self, feeds: dict[str, np.ndarray], outputs: list[str]) -> list[np.ndarray]:
        """Inputs and outputs are float32, as those of all graphs of the pack."""
        for name in feeds.keys() & self._memory.keys():
            self._driver.copy_in(self._memory[name], np.ascontiguousarray(feeds[name], np.float32))
        if not self._context.execute_async_v3(self._stream):
            raise RuntimeError("TensorRT for RTX could not start the engine")
        self._driver.wait(self._stream)
        found = [np.empty(self._shapes[name], np.float32) for name in outputs]
        for name, values in zip(outputs, found, strict=True):
            self._driver.copy_out(values, self._memory[name])
        return found


def accepts() -> dict[str, Any]:
    """One convolution, built and, where there is a driver, run; ``built`` is true even if the GPU refuses it."""
    from onnx import TensorProto, helper, numpy_helper

    trt = module()
    shape = [1, 8, 16, 16]
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
            "one",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(np.ones((8, 8, 3, 3), np.float32), "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    row: dict[str, Any] = {"version": trt.__version__, "built": False}
    build(trt, model.SerializeToString())
    row["built"] = True
    try:
        Driver()
    except (OSError, RuntimeError) as error:
        return {**row, "status": "never", "reason": f"it builds; no GPU can be used: {error}"}
    try:
        (found,) = Engine(model.SerializeToString()).run({"x": np.ones(shape, np.float32)}, ["y"])
    except RuntimeError as error:
        return {**row, "status": "failed", "reason": str(error)}
    right = float(found[0, 0, 8, 8]) == 72.0  # 8 channels of 9 ones
    return {**row, "status": "ok" if right else "failed", "reason": None if right else "it computes something else"}
