"""Runs inside a process that may load Paddle: the outputs of small programs before and after each lowering pass.

python -m tests.stages.paddle.probe_lowering FOLDER > JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.stages.lowering.test_placement import exact, head
from tests.stages.paddle.standin import Translator
from tests.stages.qdq import Array


class HeadTranslator(Translator):
    """What the head of tests/stages/lowering/test_placement.py has beyond the stand-in."""

    def step(self, node: Any) -> None:
        kind, inputs, out = node.op_type, list(node.input), node.output[0]
        known = [self.constants.get(name) for name in inputs]
        if kind == "Abs" and known[0] is not None:
            self.constants[out] = np.abs(known[0])
        elif kind == "Softmax":
            self.op("softmax", {"X": inputs[0]}, out, axis=node.attribute[0].i)
        elif kind == "Add":
            self.op("elementwise_add", {"X": inputs[0], "Y": inputs[1]}, out, axis=-1)  # anchors, dequantized
        else:
            if kind == "Conv" and not any(a.name == "pads" for a in node.attribute):
                node.attribute.append(_pads())
            super().step(node)


def _pads() -> Any:
    from onnx import helper

    return helper.make_attribute("pads", [0, 0, 0, 0])


def biased() -> list[Any]:
    """Two convolutions whose biases are added as Paddle writes them, and a sum that is no bias."""
    import paddle

    x = paddle.static.data("image", [2, 3, 8, 8])
    y = paddle.nn.functional.relu(paddle.static.nn.conv2d(x, 4, 3, padding=1, bias_attr=False))
    block = paddle.static.default_main_program().global_block()
    made = [y]
    for number in range(2):
        vector = paddle.create_parameter([4], "float32", default_initializer=paddle.nn.initializer.Normal())
        conv = paddle.static.nn.conv2d(y, 4, 3, padding=1, bias_attr=False)
        made.append(conv + paddle.reshape(vector, [1, -1, 1, 1]))
        assert block.ops[-1].type == "elementwise_add", number
    return [made[1] + made[2] + paddle.reshape(paddle.mean(y, axis=[1, 2, 3]), [2, 1, 1, 1])]


def means() -> list[Any]:
    """Means over the map, written in both ways, and over channels, which stays."""
    import paddle

    factor = paddle.create_parameter([1], "float32", default_initializer=paddle.nn.initializer.Constant(1.5))
    x = paddle.static.data("image", [2, 3, 7, 5]) * factor
    return [
        paddle.mean(x, axis=[2, 3], keepdim=True) * 2.0,
        paddle.mean(x * x, axis=[-2, -1], keepdim=True) + paddle.mean(x, axis=[1, 2, 3], keepdim=True),
        paddle.mean(x, axis=[2, 3]) + 1.0,
    ]


def quantized_head() -> list[Any]:
    import paddle

    model = head()
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    paddle.static.data("image", shape)
    translator = HeadTranslator()
    from onnx import numpy_helper

    for node in model.graph.node:
        if node.op_type == "Constant":
            translator.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        else:
            translator.step(node)
    return [translator.block.var("boxes")]


def outputs(folder: Path, feed: Array) -> list[Array]:
    from stages.paddle.runtime.infer import Predictor

    return Predictor(folder / "model.pdmodel", folder / "model.pdiparams").run({"image": feed})


def main(folder: Path) -> dict[str, Any]:
    import stages.paddle  # isort: skip  # noqa: F401
    import paddle

    from stages.paddle.inference.lowering import lower
    from stages.paddle.runtime.program import fresh_scope, load_program

    found: dict[str, Any] = {}
    for name, build in (("fold_bias", biased), ("mean_to_pool", means), ("float_tail", quantized_head)):
        plain, after = folder / name, folder / f"{name}.after"
        plain.mkdir()
        with fresh_scope():
            main_program, startup = paddle.static.Program(), paddle.static.Program()
            with paddle.static.program_guard(main_program, startup), paddle.utils.unique_name.guard():
                paddle.seed(0)
                made = build()
                executor = paddle.static.Executor(paddle.CPUPlace())
                executor.run(startup)
                image = main_program.global_block().var("image")
                paddle.static.save_inference_model(str(plain / "model"), [image], made, executor, program=main_program)
        with fresh_scope():
            program = load_program(plain / "model.pdmodel", plain / "model.pdiparams")
            (report,) = lower(program, [name])
            kinds = [op.type for op in program.ops()]
            shape = program.shape("image")
            after.mkdir()
            program.save(after / "model")
        feed = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        before, now = outputs(plain, feed), outputs(after, feed)
        found[name] = {
            "counts": report["counts"],
            "kinds": kinds,
            "difference": max(float(np.abs(a - b).max()) for a, b in zip(before, now, strict=True)),
            "largest": max(float(np.abs(a).max()) for a in before),
        }
        if name == "float_tail":
            found[name]["before"] = float(np.abs(before[0] - exact()).max())
            found[name]["after"] = float(np.abs(now[0] - exact()).max())
    return found


if __name__ == "__main__":
    result = main(Path(sys.argv[1]))
    print(json.dumps(result))
