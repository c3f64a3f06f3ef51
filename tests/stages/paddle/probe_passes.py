"""Runs inside a process that may load Paddle: quantizes a small network with and without the faster passes.

python -m tests.stages.paddle.probe_passes patched|plain|other > JSON
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from typing import Any


def build() -> tuple[Any, Any, Any]:
    import paddle

    paddle.enable_static()
    paddle.seed(0)
    main, startup = paddle.static.Program(), paddle.static.Program()
    with paddle.static.program_guard(main, startup), paddle.utils.unique_name.guard():
        image = paddle.static.data("image", [-1, 3, 16, 16])
        x = image
        for channels in (4, 8, 8):
            y = paddle.static.nn.conv2d(x, channels, 3, padding=1, bias_attr=False)
            x = paddle.nn.functional.swish(paddle.static.nn.batch_norm(y))
        x = x + paddle.static.nn.conv2d(x, 8, 1)
        loss = paddle.mean(paddle.concat([x, y], axis=1))
        test = main.clone(for_test=True)
        paddle.optimizer.SGD(0.01).minimize(loss)
    executor = paddle.static.Executor(paddle.CPUPlace())
    executor.run(startup)
    return main, test, executor


def describe(program: Any, scope: Any) -> dict[str, Any]:
    """Operators, variable names and scales; counters that follow the (arbitrary) order of the originals are dropped."""
    import numpy as np

    def plain(name: str) -> str:
        # Paddle 3 numbers the learning rates of the thresholds; in Paddle 2.6 they carry the threshold's name.
        return re.sub(r"((scale_)?(state|accum)@?|^learning_rate)_?\d+", r"\1", name)

    block = program.global_block()
    scales = {}
    for name, var in block.vars.items():
        if var.persistable and "@scale" in name and scope.find_var(name) is not None:
            scales[name] = np.asarray(scope.find_var(name).get_tensor()).ravel().tolist()
    edges = [
        (op.type, sorted(map(plain, op.input_arg_names)), sorted(map(plain, op.output_arg_names))) for op in block.ops
    ]
    return {
        "ops": sorted(Counter(op.type for op in block.ops).items()),
        "vars": sorted(map(plain, block.vars)),
        "scales": scales,
        "edges": sorted(map(repr, edges)),
    }


def main(mode: str) -> dict[str, Any]:
    from stages.paddle.compression import graph_patches
    from stages.paddle.runtime import quiet  # isort: skip  (the door comes before paddle itself)
    import paddle
    from paddle.base.framework import IrGraph
    from paddleslim.quant import quanter

    if mode == "other":
        graph_patches.WRITTEN_FOR = {**graph_patches.WRITTEN_FOR, "paddleslim": ("9.9.9",)}
    train, test, executor = build()
    scope, place = paddle.static.global_scope(), paddle.CPUPlace()
    warnings: list[str] = []
    originals = {name: value for name, value in IrGraph.__dict__.items() if callable(value)}
    found: dict[str, Any] = {}
    config = {"quantize_op_types": ["conv2d", "depthwise_conv2d"], "onnx_format": True}

    def work() -> None:
        with quiet.silent_bars():
            quantized_test = quanter.quant_aware(test, place, dict(config), for_test=True)
            quantized = quanter.quant_aware(
                train,
                place,
                dict(config),
                for_test=False,
                act_preprocess_func=quanter.pact,
                optimizer_func=quanter.get_pact_optimizer,
                executor=executor,
                return_program=True,
            )
            found["train"] = describe(quantized, scope)
            found["test"] = describe(quantized_test, scope)
            found["converted"] = describe(quanter.convert(quantized_test, place, dict(config)), scope)

    if mode == "plain":
        work()
    else:
        with graph_patches.fast_graph_passes(warnings.append) as patched:
            work()
        found["patched"] = patched
    after = {name: value for name, value in IrGraph.__dict__.items() if callable(value)}
    return {**found, "warnings": warnings, "restored": originals == after}


if __name__ == "__main__":
    result = main(sys.argv[1])
    print(json.dumps(result))
