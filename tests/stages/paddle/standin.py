"""Runs inside a process that may load Paddle: writes the stand-in detector of tests/stages/qdq.py as a Paddle program.

python -m tests.stages.paddle.standin FOLDER SIZE CLASSES PRECISION BATCH
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.stages.qdq import Array, detector


class Translator:
    """From the few ONNX operators of the stand-in to Paddle's, node by node."""

    def __init__(self) -> None:
        import paddle

        self.paddle = paddle
        self.block = paddle.static.default_main_program().global_block()
        self.scope = paddle.static.global_scope()
        self.constants: dict[str, Array] = {}
        self.names: dict[str, str] = {}

    def parameter(self, name: str, value: Array) -> str:
        self.block.create_parameter(
            name=name, shape=list(value.shape), dtype=str(value.dtype), initializer=lambda variable, block: None
        )
        self.scope.var(name).get_tensor().set(value, self.paddle.CPUPlace())
        return name

    def op(self, kind: str, inputs: dict[str, str], out: str, slot: str = "Out", **attributes: Any) -> None:
        dtype = "int8" if kind == "quantize_linear" else "float32"
        self.block.create_var(name=out, dtype=dtype)
        outputs = {slot: [out]}
        if kind in ("reshape2", "transpose2"):
            outputs["XShape"] = [self.block.create_var(name=f"{out}.xshape", dtype="float32").name]
        self.block.append_op(
            type=kind, inputs={k: [self.names.get(v, v)] for k, v in inputs.items()}, outputs=outputs, attrs=attributes
        )

    def step(self, node: Any) -> None:
        kind, (*inputs,), out = node.op_type, node.input, node.output[0]
        attributes = {a.name: list(a.ints) or a.i for a in node.attribute}
        known = [self.constants.get(name) for name in inputs]
        if kind in ("QuantizeLinear", "DequantizeLinear"):
            self.quantizer(kind, inputs, known, out, attributes["axis"])
        elif kind == "Conv":
            pads = attributes["pads"][:2]
            result = out if len(inputs) == 2 else f"{out}.sums"
            filters = self.names.get(inputs[1]) or self.parameter(inputs[1], known[1].astype(np.float32))  # type: ignore[union-attr]
            self.op(
                "conv2d", {"Input": inputs[0], "Filter": filters}, result, "Output",
                strides=[1, 1], paddings=pads, dilations=[1, 1], groups=1, data_format="NCHW",
            )  # fmt: skip
            if len(inputs) == 3:
                bias = self.parameter(f"{out}.bias", known[2].astype(np.float32))  # type: ignore[union-attr]
                self.op("reshape2", {"X": bias}, f"{out}.bias4", shape=[1, -1, 1, 1])
                self.op("elementwise_add", {"X": result, "Y": f"{out}.bias4"}, out, axis=-1)
        elif kind == "Mul" and any(value is not None for value in known):
            self.names[out] = self.names.get(inputs[0], inputs[0])  # x * 1
        elif kind in ("Mul", "Div"):
            self.op(f"elementwise_{kind.lower()}", {"X": inputs[0], "Y": inputs[1]}, out, axis=-1)
        elif kind in ("Sigmoid", "Abs"):
            self.op(kind.lower(), {"X": inputs[0]}, out)
        elif kind == "AveragePool":
            self.op(
                "pool2d", {"X": inputs[0]}, out, pooling_type="avg", ksize=attributes["kernel_shape"],
                strides=attributes["strides"], paddings=[0, 0], global_pooling=False, exclusive=True, adaptive=False,
                ceil_mode=False, data_format="NCHW",
            )  # fmt: skip
        elif kind == "Reshape":
            self.op("reshape2", {"X": inputs[0]}, out, shape=known[1].tolist())  # type: ignore[union-attr]
        elif kind == "Transpose":
            self.op("transpose2", {"X": inputs[0]}, out, axis=attributes["perm"])
        elif kind == "Split":
            first = 0
            for name, size in zip(node.output, known[1].tolist(), strict=True):  # type: ignore[union-attr]
                self.op("slice", {"Input": inputs[0]}, name, axes=[1], starts=[first], ends=[first + size])
                first += size
        elif kind == "Concat":
            made = self.block.create_var(name=out, dtype="float32")
            self.block.append_op(type="concat", inputs={"X": list(inputs)}, outputs={"Out": [made]}, attrs={"axis": 1})
        else:
            raise NotImplementedError(kind)

    def quantizer(self, kind: str, inputs: list[str], known: list[Array | None], out: str, axis: int) -> None:
        value, scale, zero = known
        assert scale is not None and zero is not None
        if value is not None:
            shape = [-1 if d == axis else 1 for d in range(value.ndim)]
            steps = np.broadcast_to(scale.reshape(shape) if scale.size > 1 else scale, value.shape)
            if kind == "QuantizeLinear":
                self.constants[out] = np.clip(np.rint(value / steps), -128, 127).astype(np.int8)
                return
            self.constants[out] = (value * steps).astype(np.float32)
            if value.dtype == np.int32:
                return
            inputs[0] = self.parameter(f"{out}.int8", value.astype(np.int8))
        scales = self.parameter(f"{out}.scale", (np.atleast_1d(scale) * 127).astype(np.float32))  # a range, not a step
        zeros = self.parameter(f"{out}.zero", np.zeros(scale.size, np.float32))
        self.op(
            "quantize_linear" if kind == "QuantizeLinear" else "dequantize_linear",
            {"X": inputs[0], "Scale": scales, "ZeroPoint": zeros}, out, "Y",
            quant_axis=0 if scale.size > 1 else -1, bit_length=8, round_type=0, is_test=True, only_observer=False,
        )  # fmt: skip
        self.names[out] = out


def main(folder: Path, size: int, classes: int, precision: str, batch: int) -> None:
    import stages.paddle  # isort: skip  # noqa: F401
    import onnx
    import paddle

    paddle.enable_static()
    model = detector(size, classes, quantized=precision == "int8", batch=batch)
    feeds = [paddle.static.data(i.name, [d.dim_value for d in i.type.tensor_type.shape.dim]) for i in model.graph.input]
    translator = Translator()
    for node in model.graph.node:
        if node.op_type == "Constant":
            translator.constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
        else:
            translator.step(node)
    block = translator.block
    executor = paddle.static.Executor(paddle.CPUPlace())
    outputs = [block.var(name) for name in ("boxes", "scores")]
    paddle.static.save_inference_model(str(folder / "model"), feeds, outputs, executor)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
