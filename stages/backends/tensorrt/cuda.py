"""The few functions of CUDA's runtime library that a session needs, by ctypes: no Python package has to be added.

Nothing here is imported or loaded before a session is opened. A test gives sessions a stand-in with the same methods.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from pathlib import Path
from typing import Any, Protocol

from stages.errors import StageError, UnavailableError

TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost
_RELAXED = 2  # cudaStreamCaptureModeRelaxed


class Cuda(Protocol):
    """Memory, copies and streams. Addresses, streams and graphs are plain integers."""

    def device_memory(self, size: int) -> int: ...

    def free_device(self, address: int) -> None: ...

    def pinned_memory(self, size: int) -> int: ...

    def free_pinned(self, address: int) -> None: ...

    def stream(self) -> int: ...

    def copy(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        """Copy ``size`` bytes in order on ``stream``; it may return before the bytes are there."""

    def wait(self, stream: int) -> None: ...

    def begin_capture(self, stream: int) -> None: ...

    def end_capture(self, stream: int) -> int:
        """The captured work as a graph that can be launched."""

    def launch(self, graph: int, stream: int) -> None: ...


class CudaRuntime:
    """`Cuda` on libcudart. Every call is checked."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(_library())
        self._library.cudaGetErrorString.restype = ctypes.c_char_p

    def device_memory(self, size: int) -> int:
        return self._made("cudaMalloc", ctypes.c_size_t(size))

    def free_device(self, address: int) -> None:
        self._call("cudaFree", ctypes.c_void_p(address))

    def pinned_memory(self, size: int) -> int:
        return self._made("cudaMallocHost", ctypes.c_size_t(size))

    def free_pinned(self, address: int) -> None:
        self._call("cudaFreeHost", ctypes.c_void_p(address))

    def stream(self) -> int:
        return self._made("cudaStreamCreate")

    def copy(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        self._call(
            "cudaMemcpyAsync",
            ctypes.c_void_p(target),
            ctypes.c_void_p(source),
            ctypes.c_size_t(size),
            ctypes.c_int(kind),
            ctypes.c_void_p(stream),
        )

    def wait(self, stream: int) -> None:
        self._call("cudaStreamSynchronize", ctypes.c_void_p(stream))

    def begin_capture(self, stream: int) -> None:
        self._call("cudaStreamBeginCapture", ctypes.c_void_p(stream), ctypes.c_int(_RELAXED))

    def end_capture(self, stream: int) -> int:
        graph, made = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cudaStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        # Of the two ways to instantiate, the one whose arguments CUDA 12 did not change.
        self._call("cudaGraphInstantiateWithFlags", ctypes.byref(made), graph, ctypes.c_ulonglong(0))
        self._call("cudaGraphDestroy", graph)
        return int(made.value or 0)

    def launch(self, graph: int, stream: int) -> None:
        self._call("cudaGraphLaunch", ctypes.c_void_p(graph), ctypes.c_void_p(stream))

    def _made(self, name: str, *arguments: Any) -> int:
        made = ctypes.c_void_p()
        self._call(name, ctypes.byref(made), *arguments)
        return int(made.value or 0)

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            text = self._library.cudaGetErrorString(code).decode()
            raise StageError(f"CUDA's {name} failed: {text}; see whether other processes fill the GPU (nvidia-smi)")


def _library() -> str:
    """Where libcudart is: on the loader's path, or in NVIDIA's package."""
    found = ctypes.util.find_library("cudart")
    if found:
        return found
    for folder in sys.path:
        for path in sorted(Path(folder).glob("nvidia/*/lib/libcudart.so.*"), reverse=True):
            return str(path)
    raise UnavailableError("CUDA's runtime library (libcudart) is not here; pip install nvidia-cuda-runtime-cu12")
