"""How an engine is launched on a GPU by ONNX Runtime: all kernels at once, and the faster of two layouts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # the pack for GPUs carries this file alone
    from stages.backends.base import Array, Feeds

WARMUP, ROUNDS, RUNS = 5, 9, 5
TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int32)": np.int32, "tensor(int64)": np.int64}
"""What ONNX Runtime calls the types of inputs and outputs."""
MARGIN = 0.98
"""NHWC has to be faster by this much to be taken: a tie stays with the layout of the file."""


class GraphSession:
    """A session with a CUDA graph: its buffers are allocated once, since the recorded kernels keep their addresses.

    Args:
        session: an ONNX Runtime session made with ``enable_cuda_graph`` and inputs of fixed shapes.
        outputs: the names of what `infer` gives, in order.
        device: where the buffers lie, as ONNX Runtime names it.
    """

    def __init__(self, session: Any, outputs: list[str], device: str = "cuda") -> None:
        import onnxruntime as ort

        self._session, self._binding = session, session.io_binding()

        def buffer(value: Any) -> Any:
            return ort.OrtValue.ortvalue_from_numpy(np.zeros(value.shape, TYPES[value.type]), device, 0)

        self._types = {value.name: TYPES[value.type] for value in session.get_inputs()}
        self._inputs = {value.name: buffer(value) for value in session.get_inputs()}
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        # All are bound: what is not would be allocated anew, and a graph cannot follow it.
        held = {value.name: buffer(value) for value in session.get_outputs()}
        for name, value in held.items():
            self._binding.bind_ortvalue_output(name, value)
        self._outputs = [held[name] for name in outputs]

    def infer(self, feeds: Feeds) -> list[Array]:
        for name, value in self._inputs.items():
            value.update_inplace(np.ascontiguousarray(feeds[name], self._types[name]))
        self._session.run_with_iobinding(self._binding)
        return [np.array(value.numpy()) for value in self._outputs]  # the next run writes where this one did


def faster_layout(
    open_as: Callable[[bool], Callable[[], object]], clock: Callable[[], float] = time.perf_counter
) -> dict[str, Any]:
    """Time an engine with images as NCHW and as NHWC, in turns.

    Convolutions on tensor cores want NHWC; whether the conversions around them cost more, each model and GPU answers
    for itself.

    Args:
        open_as: opens the engine, as NHWC or not, and gives a function that runs it once.

    Returns:
        ``nhwc``: whether it is the faster one, and ``layout_ms``: the medians of both; or ``nhwc_refused``: why
        ONNX Runtime cannot run the engine so (1.31 cannot where weights come out of a DequantizeLinear).
    """
    engines = {"NCHW": open_as(False)}
    try:
        engines["NHWC"] = open_as(True)
        engines["NHWC"]()
    except Exception as error:  # ORT's exceptions share no base class but Exception
        return {"nhwc": False, "nhwc_refused": (str(error).strip() or type(error).__name__).splitlines()[0]}
    times: dict[str, list[float]] = {name: [] for name in engines}
    for run in engines.values():
        for _ in range(WARMUP):
            run()
    for _ in range(ROUNDS):
        for name, run in engines.items():
            start = clock()
            for _ in range(RUNS):
                run()
            times[name].append((clock() - start) * 1e3 / RUNS)
    medians = {name: statistics.median(own) for name, own in times.items()}
    return {"nhwc": medians["NHWC"] < MARGIN * medians["NCHW"], "layout_ms": medians}
