"""Small quantized graphs in the form Paddle2ONNX writes, and a plain run of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]


class Build:
    """Collects nodes; constants are Constant nodes, as in Paddle2ONNX's files."""

    def __init__(self, *inputs: tuple[str, list[int]]) -> None:
        self.inputs = inputs
        self.nodes: list[onnx.NodeProto] = []

    def const(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.nodes)}"
        tensor = numpy_helper.from_array(np.asarray(value, dtype), name)
        self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        return name

    def node(self, op: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        name = out or f"{op}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=f"n.{name}", **attributes))
        return name

    def qdq(self, x: str, scale: Any, axis: int = 1, zero: Any = 0, kind: Any = np.int8) -> str:
        zero = np.broadcast_to(np.asarray(zero, kind), np.shape(scale))
        names = self.const(scale), self.const(zero, kind)
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *names, axis=axis), *names, axis=axis)

    def int32(self, values: Any, scale: Any) -> str:
        zero = np.zeros(np.shape(scale), np.int32)
        return self.node(
            "DequantizeLinear",
            self.const(values, np.int32),
            self.const(scale),
            self.const(zero, np.int32),
            axis=0,
        )

    def model(self, **outputs: list[int]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in self.inputs],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def conv_silu(b: Build, x: str, channels: tuple[int, int], rng: np.random.Generator, step: float = 0.05) -> str:
    """Quantized x -> Conv -> Q/DQ -> x1 -> SiLU -> Q/DQ, as Paddle2ONNX writes Conv, BN (merged) and swish."""
    c_in, c_out = channels
    weight = rng.standard_normal((c_out, c_in, 3, 3)).astype(np.float32) / np.sqrt(9 * c_in)
    scale = np.abs(weight).max(axis=(1, 2, 3)) / 127
    w = b.qdq(b.const(weight), scale, axis=0)
    bias = b.int32(rng.integers(-300, 300, c_out), scale * np.float32(step))
    y = b.qdq(b.node("Conv", x, w, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1]), step)
    sigmoid = b.node("Sigmoid", b.node("Mul", y, b.const(1.0)))
    return b.qdq(b.node("Mul", y, sigmoid), step)


def two_convs(seed: int = 0, size: int = 16) -> onnx.ModelProto:
    """image [1, 3, size, size] -> two quantized Conv+SiLU -> out [1, 8, size, size]."""
    rng = np.random.default_rng(seed)
    b = Build(("image", [1, 3, size, size]))
    x = b.qdq("image", 0.05)
    y = conv_silu(b, conv_silu(b, x, (3, 8), rng), (8, 8), rng)
    b.node("Identity", y, out="out")
    return b.model(out=[1, 8, size, size])


def detector(size: int = 64, classes: int = 3, quantized: bool = True, batch: int = 1) -> onnx.ModelProto:
    """A stand-in: image, scale_factor -> boxes [B, N, 4], scores [B, classes, N] with N = size**2 / 64."""
    rng = np.random.default_rng(0)
    b = Build(("image", [batch, 3, size, size]), ("scale_factor", [batch, 2]))
    if quantized:
        y = conv_silu(b, b.qdq("image", 0.05), (3, 16), rng)
        y = conv_silu(b, y, (16, 4 + classes), rng)
    else:
        y = "image"
        for c_in, c_out in ((3, 16), (16, 4 + classes)):
            weight = rng.standard_normal((c_out, c_in, 3, 3)) / np.sqrt(9 * c_in)
            conv = b.node("Conv", y, b.const(weight), kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
            y = b.node("Mul", conv, b.node("Sigmoid", conv))
    pooled = b.node("AveragePool", y, kernel_shape=[8, 8], strides=[8, 8])
    flat = b.node("Reshape", pooled, b.const([batch, 4 + classes, -1], np.int64))
    parts = [f"part{i}" for i in range(2)]
    split = helper.make_node("Split", [flat, b.const([4, classes], np.int64)], parts, axis=1)
    b.nodes.append(split)
    b.node("Sigmoid", parts[1], out="scores")
    corners = b.node("Transpose", b.node("Abs", parts[0]), perm=[0, 2, 1])
    doubled = b.node("Concat", *["scale_factor"] * 2, axis=1)
    b.node("Div", corners, b.node("Reshape", doubled, b.const([batch, 1, 4], np.int64)), out="boxes")
    n = (size // 8) ** 2
    return b.model(boxes=[batch, n, 4], scores=[batch, classes, n])


def run(model: onnx.ModelProto, seed: int = 1, optimized: bool = False) -> list[Array]:
    """Outputs of a graph on seeded normal inputs; node by node as the file says unless ``optimized``."""
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    level = ort.GraphOptimizationLevel
    settings.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(seed)
    feeds = {i.name: rng.standard_normal(i.shape).astype(np.float32) for i in session.get_inputs()}
    found: list[Array] = session.run(None, feeds)
    return found


def count(model: onnx.ModelProto, *op_types: str) -> int:
    return sum(node.op_type in op_types for node in model.graph.node)
