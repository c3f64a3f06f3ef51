"""An opened TensorRT engine: host to host, with page-locked buffers and CUDA graphs by option."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.backends.base import Array, Feeds
from stages.backends.tensorrt.cuda import TO_DEVICE, TO_HOST, Cuda
from stages.errors import StageError


@dataclass
class _Buffer:
    name: str
    device: int
    size: int
    host: Array | None  # page-locked, with pinned buffers
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pinned: int = 0


class TensorRtSession:
    """Copies in, runs and copies out on one stream, and waits for it.

    Args:
        trt: the module ``tensorrt`` or ``tensorrt_rtx``.
        engine: a deserialized engine with static shapes.
        outputs: names, in the order in which `infer` gives them.
        pinned: keep page-locked host buffers, for inputs and outputs: one more copy on the CPU, faster ones to and
            from the GPU, which may then run beside other work.
        graph: record the copies and the run once, and launch them as one.
        types: name -> type of those inputs and outputs that are not float32.
    """

    def __init__(
        self,
        trt: Any,
        engine: Any,
        cuda: Cuda,
        outputs: list[str],
        pinned: bool = False,
        graph: bool = False,
        types: Mapping[str, npt.DTypeLike] | None = None,
    ) -> None:
        if graph and not pinned:
            raise StageError("a CUDA graph needs buffers that stay where they are: set pinned=true with cuda_graph")
        self._cuda, self._stream, self._graph = cuda, cuda.stream(), 0
        self._context = engine.create_execution_context()
        if self._context is None:
            raise StageError("TensorRT cannot make an execution context; is the GPU's memory full? (nvidia-smi)")
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        if missing := [name for name in outputs if name not in names]:
            raise StageError(f"the engine has no output {missing[0]!r} (it has {', '.join(names)}); build it again")
        self._types = types or {}
        self._inputs: list[_Buffer] = []
        made: dict[str, _Buffer] = {}
        for name in names:
            buffer = self._buffer(name, tuple(engine.get_tensor_shape(name)), pinned)
            self._context.set_tensor_address(name, buffer.device)
            if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                self._inputs.append(buffer)
            else:
                made[name] = buffer
        self._outputs = [made[name] for name in outputs]
        self._execute()  # TensorRT allocates at the first run, which a capture may not contain
        if graph:
            cuda.begin_capture(self._stream)
            self._enqueue()
            self._graph = cuda.end_capture(self._stream)

    def infer(self, feeds: Feeds) -> list[Array]:
        if all(b.host is not None for b in self._inputs):
            for buffer in self._inputs:
                assert buffer.host is not None
                np.copyto(buffer.host, feeds[buffer.name])
            if self._graph:
                self._cuda.launch(self._graph, self._stream)
            else:
                self._enqueue()
            self._cuda.wait(self._stream)
            return [np.array(buffer.host) for buffer in self._outputs]
        for buffer in self._inputs:
            self._copy_in(buffer, np.ascontiguousarray(feeds[buffer.name], buffer.dtype))
        self._run()
        found = [np.empty(buffer.shape, buffer.dtype) for buffer in self._outputs]
        for buffer, target in zip(self._outputs, found, strict=True):
            self._cuda.copy(target.ctypes.data, buffer.device, buffer.size, TO_HOST, self._stream)
        self._cuda.wait(self._stream)
        return found

    def steps(self, feeds: Feeds) -> list[tuple[str, Callable[[], None]]]:
        """What `infer` does, in parts that each wait for the GPU; a graph is left out, being one piece."""
        given = {b.name: np.ascontiguousarray(feeds[b.name], b.dtype) for b in self._inputs}
        found = {b.name: np.empty(b.shape, b.dtype) for b in self._outputs}

        def copy_in() -> None:
            for buffer in self._inputs:
                if buffer.host is not None:
                    np.copyto(buffer.host, given[buffer.name])
                self._copy_in(buffer, given[buffer.name] if buffer.host is None else buffer.host)
            self._cuda.wait(self._stream)

        def copy_out() -> None:
            for buffer in self._outputs:
                target = buffer.pinned or found[buffer.name].ctypes.data
                self._cuda.copy(target, buffer.device, buffer.size, TO_HOST, self._stream)
            self._cuda.wait(self._stream)
            for buffer in self._outputs:
                if buffer.host is not None:
                    np.copyto(found[buffer.name], buffer.host)

        return [("host_to_device", copy_in), ("compute", self._execute), ("device_to_host", copy_out)]

    def close(self) -> None:
        """Free the buffers; the session cannot be used after it."""
        self._cuda.wait(self._stream)
        for buffer in (*self._inputs, *self._outputs):
            self._cuda.free_device(buffer.device)
            buffer.host = None
            if buffer.pinned:
                self._cuda.free_pinned(buffer.pinned)
        self._context = None

    def _buffer(self, name: str, shape: tuple[int, ...], pinned: bool) -> _Buffer:
        if any(d < 1 for d in shape):
            raise StageError(f"tensor {name!r} of the engine has no fixed shape ({shape}); export the model again")
        dtype = np.dtype(self._types.get(name, np.float32))
        size = dtype.itemsize * int(np.prod(shape))
        buffer = _Buffer(name, self._cuda.device_memory(size), size, None, shape, dtype)
        if pinned:
            buffer.pinned = self._cuda.pinned_memory(size)
            memory = (ctypes.c_ubyte * size).from_address(buffer.pinned)
            buffer.host = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
            buffer.host[...] = 0
        return buffer

    def _copy_in(self, buffer: _Buffer, value: Array) -> None:
        if value.shape != buffer.shape:
            raise StageError(f"input {buffer.name!r} has the shape {value.shape}, the engine wants {buffer.shape}")
        self._cuda.copy(buffer.device, value.ctypes.data, buffer.size, TO_DEVICE, self._stream)

    def _enqueue(self) -> None:
        """Pinned buffers only: copies in, run, copies out."""
        for buffer in self._inputs:
            assert buffer.host is not None
            self._copy_in(buffer, buffer.host)
        self._run()
        for buffer in self._outputs:
            self._cuda.copy(buffer.pinned, buffer.device, buffer.size, TO_HOST, self._stream)

    def _execute(self) -> None:
        self._run()
        self._cuda.wait(self._stream)

    def _run(self) -> None:
        if not self._context.execute_async_v3(self._stream):
            raise StageError("TensorRT could not start the engine; its messages stand in the stage's log")
