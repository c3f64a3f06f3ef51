"""Runs inside a process that may load Paddle: rounds an activation and a weight, as PaddleSlim writes it and fused.

python -m tests.stages.paddle.probe_fuse > JSON
"""

from __future__ import annotations

import json
from typing import Any


def build(paddle: Any) -> Any:
    """A program with a quantizer and a dequantizer for ``x`` and for ``w`` [4, 6]."""
    main = paddle.static.Program()
    block = main.global_block()
    with paddle.static.program_guard(main, paddle.static.Program()):
        paddle.static.data("x", [4, 6], "float32")
    for name, shape in (("w", [4, 6]), ("sx", [1]), ("ax", [1]), ("tx", [1]), ("sw", [4]), ("zero", [1])):
        block.create_var(name=name, shape=shape, dtype="float32", persistable=True)
    for name, axis in (("x", -1), ("w", 0)):
        scale = f"s{name}"
        for made in ("q", "o"):
            block.create_var(name=made + name, shape=[4, 6], dtype="float32")
        attributes = {"bit_length": 8, "quant_axis": axis, "is_test": False, "op_role": 0}
        sources = {"X": name, "Scale": scale, "ZeroPoint": "zero", "InAccum": "ax", "InState": "tx"}
        results = {"Y": "q" + name, "OutScale": scale, "OutAccum": "ax", "OutState": "tx"}
        block.append_op(type="quantize_linear", inputs=sources, outputs=results, attrs=attributes)
        del attributes["is_test"]
        back = {"X": "q" + name, "Scale": scale, "ZeroPoint": "zero"}
        block.append_op(type="dequantize_linear", inputs=back, outputs={"Y": "o" + name}, attrs=attributes)
    return main


def main() -> dict[str, Any]:
    from stages.paddle.compression.fused_rounding import fuse_roundings  # isort: skip  (the door comes before paddle itself)
    import numpy as np
    import paddle

    paddle.enable_static()
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 4, 6)).astype(np.float32)
    start = {"w": w, "sx": [0.9], "ax": [1.8], "tx": [2.0], "sw": [1.0] * 4, "zero": [0.0]}
    executor = paddle.static.Executor(paddle.CPUPlace())
    program = build(paddle)
    fused = fuse_roundings(program)
    found: dict[str, Any] = {"x": x.tolist(), "types": [op.type for op in fused.global_block().ops]}
    for name, each in (("pairs", program), ("fused", fused)):
        scope = paddle.static.Scope()
        with paddle.static.scope_guard(scope):
            for variable, value in start.items():
                scope.var(variable).get_tensor().set(np.asarray(value, np.float32), paddle.CPUPlace())
            ox, ow = executor.run(each, feed={"x": x}, fetch_list=["ox", "ow"])
            state = {v: np.asarray(scope.find_var(v).get_tensor()).tolist() for v in ("sx", "ax", "tx", "sw")}
        found[name] = {"x": ox.tolist(), "w": ow.tolist(), **state}
    return found


if __name__ == "__main__":
    print(json.dumps(main()))
