"""Runs inside a process that may load Paddle: what Paddle's functions make of the variables of an old program.

python -m tests.stages.paddle.probe_old_ir > JSON
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

X = np.array([[0.25, 0.5, 1.0], [2.0, 3.5, 0.75]], np.float32)
Y = np.array([[0.5, 0.5, 0.5], [4.0, 3.0, 1.0]], np.float32)
CALLED_ALIKE = ("abs", "ceil", "cos", "exp", "floor", "log", "log2", "sign", "sin", "sqrt", "tanh")
ONE: dict[str, Any] = {name: getattr(np, name) for name in (*CALLED_ALIKE, "isfinite", "isinf", "isnan")}
ONE |= {"round": lambda x: np.round(x + 0.125)}  # of no halves: Paddle 2.6 rounds them up, Paddle 3 to even
ONE |= {"rsqrt": lambda x: 1 / np.sqrt(x), "sigmoid": lambda x: 1 / (1 + np.exp(-x))}
TWO: dict[str, Any] = {
    "maximum": np.maximum,
    "minimum": np.minimum,
    "multiply": np.multiply,
    "greater_than": np.greater,
}
LOGICAL: dict[str, Any] = {name: getattr(np, name) for name in ("logical_and", "logical_or", "logical_xor")}


def built(paddle: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The variables that the functions make in the current program, and what they should be."""
    x, y = paddle.static.data("x", [2, 3], "float32"), paddle.static.data("y", [2, 3], "float32")
    low, even = X > 0.6, Y < 1
    ones = {name: getattr(paddle, name, None) or getattr(paddle.nn.functional, name) for name in ONE}
    made: dict[str, Any] = {name: call(x + 0.125 if name == "round" else x) for name, call in ones.items()}
    made |= {name: getattr(paddle, name)(x, y) for name in TWO}
    made |= {name: getattr(paddle, name)(x > 0.6, y < 1) for name in LOGICAL}
    expected = {name: function(X) for name, function in ONE.items()}
    expected |= {name: function(X, Y) for name, function in TWO.items()}
    expected |= {name: function(low, even) for name, function in LOGICAL.items()}
    cases = {
        "sum": (paddle.sum(x), X.sum()),
        "sum of an axis": (paddle.sum(x, axis=1, keepdim=True), X.sum(1, keepdims=True)),
        "sum of all axes": (paddle.sum(x, axis=[0, 1]), X.sum()),
        "sum, by position": (paddle.sum(x, -1), X.sum(-1)),
        "matmul": (paddle.matmul(x, y, transpose_y=True), X @ Y.T),
        "matmul, the other way": (paddle.matmul(x, y, transpose_x=True), X.T @ Y),
        "by name": (paddle.maximum(x=x, y=y), np.maximum(X, Y)),
        "a functional": (paddle.nn.functional.sigmoid(x), ONE["sigmoid"](X)),
        "a method": (x.exp().sum(), np.exp(X).sum()),
    }
    return made | {n: v for n, (v, _) in cases.items()}, expected | {n: v for n, (_, v) in cases.items()}


def names_of_a_split_output(paddle: Any) -> dict[str, list[str]]:
    """What an export without post-processing has before its output is split, and the outputs afterwards."""
    from stages.paddle.models.freeze import _split
    from stages.paddle.runtime.program import Program

    exported = paddle.static.Program()
    with paddle.static.program_guard(exported), paddle.utils.unique_name.guard():
        joined = paddle.transpose(paddle.static.data("joined", [1, 9, 7], "float32"), [0, 2, 1])
    loaded = Program(paddle.static.Program.parse_from_string(exported.desc.serialize_to_string()), ["joined"], [])
    with paddle.utils.unique_name.guard():  # as in a process that has built nothing yet
        return {"before": list(loaded.block.vars), "outputs": _split(loaded, joined.name)}


def main() -> dict[str, Any]:
    from stages.paddle.runtime.program import extend, fresh_scope  # isort: skip  (the door comes before paddle itself)
    import paddle

    from stages.paddle.runtime import old_ir

    x, y = paddle.to_tensor(X), paddle.to_tensor(Y)
    eager = [float(paddle.sum(paddle.maximum(x, y))), int(paddle.sum(x > 0.6, dtype="int64")), int((x > 0.6).sum())]
    far, kinds = {}, set()
    with fresh_scope():
        program = paddle.static.Program()
        with paddle.static.program_guard(program):
            made, expected = built(paddle)
        kinds |= {op.type for op in program.global_block().ops}
        executor = paddle.static.Executor(paddle.CPUPlace())
        values = executor.run(program, feed={"x": X, "y": Y}, fetch_list=list(made.values()))
        for name, value in zip(made, values, strict=True):
            wanted = np.asarray(expected[name])
            fits = value.dtype == wanted.dtype and value.shape == wanted.shape
            far[name] = float(np.abs(value.astype(float) - wanted).max()) if fits else f"{value.dtype} {value.shape}"
        refused = ""
        try:
            with paddle.static.program_guard(program):
                paddle.sum(program.global_block().var("x"), dtype="int64")
        except TypeError as error:
            refused = str(error)

        loaded = paddle.static.Program.parse_from_string(program.desc.serialize_to_string())
        with extend(loaded, "more"):
            total = paddle.sum(paddle.exp(loaded.global_block().var("x")))
            rate = paddle.utils.unique_name.generate("learning_rate")
        names = names_of_a_split_output(paddle)
        written = [name for op in loaded.global_block().ops for name in op.output_arg_names]
    return {
        "version": paddle.__version__,
        "far": far,
        "rows": sorted(old_ir.ROWS),
        "kinds": sorted(kinds),
        "eager": eager,
        "refused": refused,
        "twice": sorted({name for name in written if written.count(name) > 1}),
        "split": names,
        "prefixed": [total.name.startswith("more"), rate.startswith("more")],
    }


if __name__ == "__main__":
    print(json.dumps(main()))
