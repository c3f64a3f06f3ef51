"""A stand-in for TensorRT for RTX's bindings: an engine is its ONNX graph, which ONNX Runtime computes on the CPU, with
inputs and outputs at the addresses that were given. With a stand-in for the driver, those are ordinary memory.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

__version__ = "stand-in"


class Logger:
    ERROR = 1

    def __init__(self, severity: int) -> None:
        self.severity = severity


class NetworkDefinitionCreationFlag:
    STRONGLY_TYPED = 1


class BuilderFlag:
    TF32 = 7


class Config:
    def __init__(self) -> None:
        self.cleared: list[int] = []

    def clear_flag(self, flag: int) -> None:
        self.cleared.append(flag)


class Network:
    content = b""


class Builder:
    def __init__(self, logger: Logger) -> None:
        self.logger = logger

    def create_network(self, flags: int) -> Network:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return Network()

    def create_builder_config(self) -> Config:
        return Config()

    def build_serialized_network(self, network: Network, config: Config) -> bytes:
        assert config.cleared == [BuilderFlag.TF32]
        return network.content


class OnnxParser:
    def __init__(self, network: Network, logger: Logger) -> None:
        self._network = network

    def parse(self, model: bytes) -> bool:
        onnx.checker.check_model(onnx.load_from_string(model))
        self._network.content = model
        return True


class Runtime:
    def __init__(self, logger: Logger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, content: bytes) -> Engine:
        return Engine(content)


class Engine:
    def __init__(self, content: bytes) -> None:
        self.session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
        self.values = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.num_io_tensors = len(self.values)

    def get_tensor_name(self, number: int) -> str:
        return str(self.values[number].name)

    def get_tensor_shape(self, name: str) -> list[int]:
        return next(list(v.shape) for v in self.values if v.name == name)

    def create_execution_context(self) -> Context:
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self._engine, self._addresses = engine, dict[str, int]()

    def set_tensor_address(self, name: str, address: int) -> None:
        self._addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        session = self._engine.session
        found = session.run(None, {value.name: self._at(value.name) for value in session.get_inputs()})
        for value, content in zip(session.get_outputs(), found, strict=True):
            self._at(value.name)[...] = content
        return stream != 0

    def _at(self, name: str) -> Any:
        shape = self._engine.get_tensor_shape(name)
        memory = (ctypes.c_float * int(np.prod(shape))).from_address(self._addresses[name])
        return np.ctypeslib.as_array(memory).reshape(shape)
