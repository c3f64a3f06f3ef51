"""The arithmetic peak of this machine, measured: the most multiply-adds a second that a small kernel gets.

It is no number of a data sheet. The kernels have shapes that suit such a machine, are ONNX Runtime's, and run on as
many threads as the engine has, in its process and in turns with it, so that a clock that changes meets both. A kernel
that comes nearer to what the machine can do than these is possible, so an engine may reach a little more than 1 of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
FORMATS = ("fp32", "int8")
TRIES = 10
"""Runs of a kernel of which the fastest counts: a millisecond or two each, so that a busy machine leaves some whole."""
SHAPES = {"fp32": ((128, 20), (128, 40)), "int8": ((128, 40), (256, 20))}
"""Channels, and height and width, of convolutions whose weights and images fit into the caches of a core."""
EDGE = 384
"""Of the matrices of a product; the first has as many rows for each thread."""


class Kernel:
    """One layer as a model, open and with its input."""

    def __init__(self, name: str, model: Any, feeds: dict[str, Array], multiply_adds: int, threads: int) -> None:
        import onnxruntime as ort

        settings = ort.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        settings.add_session_config_entry("session.force_spinning_stop", "1")  # as engines are opened
        self._session = ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
        self._feeds = feeds
        self.name, self.multiply_adds = name, multiply_adds

    def run(self) -> None:
        self._session.run(None, self._feeds)


class Peak:
    """The kernels of each number format; the fastest of the first look is the one that is measured from then on."""

    def __init__(self, kernels: dict[str, list[Kernel]], clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._kernels, self._clock = kernels, clock

    def measure(self) -> dict[str, float]:
        """Multiply-adds a second of each format, now."""
        found = {}
        for number_format, kernels in self._kernels.items():
            rates = [self._rate(kernel) for kernel in kernels]
            best = int(np.argmax(rates))
            found[number_format] = rates[best]
            self._kernels[number_format] = [kernels[best]]
        return found

    @property
    def names(self) -> dict[str, str]:
        """What was measured of each format."""
        return {number_format: kernels[0].name for number_format, kernels in self._kernels.items()}

    def _rate(self, kernel: Kernel) -> float:
        kernel.run()  # its weights are brought into the caches
        best = float("inf")
        for _ in range(TRIES):
            start = self._clock()
            kernel.run()
            best = min(best, (self._clock() - start) * 1e-9)
        return kernel.multiply_adds / best


def open_peak(threads: int, formats: Sequence[str] = FORMATS) -> Peak:
    """The kernels of some number formats, opened.

    Args:
        threads: CPU threads, as many as the engine has.
    """
    convolutions = {"fp32": _convolution, "int8": _integer_convolution}
    products = {"fp32": _product, "int8": _integer_product}
    return Peak(
        {
            name: [*(convolutions[name](*shape, threads) for shape in SHAPES[name]), products[name](threads)]
            for name in formats
        }
    )


def _convolution(channels: int, side: int, threads: int) -> Kernel:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((channels, channels, 3, 3)).astype(np.float32)
    image = rng.standard_normal((1, channels, side, side)).astype(np.float32)
    model = _model(
        "Conv", ["x", "w"], {"x": image}, {"w": weight}, image.shape,
        kernel_shape=[3, 3], pads=[1] * 4,
    )  # fmt: skip
    return Kernel(f"Conv 3×3, {channels} channels", model, {"x": image}, weight.size * side * side, threads)


def _integer_convolution(channels: int, side: int, threads: int) -> Kernel:
    """ONNX Runtime's own operator, whose channels come last: ONNX's would be put between two transpositions."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-128, 128, (channels, channels, 3, 3)).astype(np.int8)
    image = rng.integers(0, 256, (1, side, side, channels)).astype(np.uint8)
    scale, zero, w_zero = np.float32(0.01), np.uint8(128), np.int8(0)
    constants = {"s": scale, "z": zero, "w": weight, "ws": scale, "wz": w_zero, "ys": np.float32(1), "yz": zero}
    model = _model(
        "QLinearConv", ["x", *constants], {"x": image}, constants, image.shape,
        domain="com.microsoft", kernel_shape=[3, 3], pads=[1] * 4, channels_last=1,
    )  # fmt: skip
    return Kernel(f"QLinearConv 3×3, {channels} channels", model, {"x": image}, weight.size * side * side, threads)


def _product(threads: int) -> Kernel:
    rng = np.random.default_rng(0)
    left = rng.standard_normal((EDGE * threads, EDGE)).astype(np.float32)
    right = rng.standard_normal((EDGE, EDGE)).astype(np.float32)
    model = _model("MatMul", ["x", "w"], {"x": left}, {"w": right}, (EDGE * threads, EDGE))
    return Kernel("MatMul", model, {"x": left}, left.shape[0] * EDGE * EDGE, threads)


def _integer_product(threads: int) -> Kernel:
    rng = np.random.default_rng(0)
    left = rng.integers(0, 256, (EDGE * threads, EDGE)).astype(np.uint8)
    right = rng.integers(-128, 128, (EDGE, EDGE)).astype(np.int8)
    constants = {"w": right, "z": np.uint8(128), "wz": np.int8(0)}
    model = _model(
        "MatMulInteger", ["x", "w", "z", "wz"], {"x": left}, constants, (EDGE * threads, EDGE), kind=np.int32
    )
    return Kernel("MatMulInteger", model, {"x": left}, left.shape[0] * EDGE * EDGE, threads)


def _model(
    operator: str,
    inputs: list[str],
    given: dict[str, Array],
    constants: dict[str, Any],
    output: Sequence[int],
    *,
    kind: Any = None,
    domain: str = "",
    **attributes: Any,
) -> Any:
    """A graph of one node; its output is of the input's type unless ``kind`` says another."""
    from onnx import helper, numpy_helper

    def info(name: str, dtype: Any, shape: Sequence[int]) -> Any:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))

    ((name, value),) = given.items()
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["y"], domain=domain, **attributes)],
        "peak",
        [info(name, value.dtype, value.shape)],
        [info("y", value.dtype if kind is None else kind, output)],
        [numpy_helper.from_array(np.asarray(constant), n) for n, constant in constants.items()],
    )
    domains = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)
