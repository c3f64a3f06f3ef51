"""Runs inside a process that may load Paddle: a small network trained with PaddleSlim's PACT on Paddle's own kernels,
and with ours in a ``Runner``; and the ranges of a network observed both ways.

python -m tests.stages.paddle.probe_execution > JSON
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

STEPS = 5
SHAPE = [2, 3, 24, 24]


def network(paddle: Any, clip: Callable[[Any], Any]) -> Any:
    """Convolutions whose inputs are clipped, some of them read twice; thresholds are called NAME_pact."""
    x = paddle.static.data("x", SHAPE, "float32")
    for layer in range(4):
        y = paddle.static.nn.conv2d(clip(x), 16, 3, padding=1, name=f"c{layer}")
        y = paddle.nn.functional.swish(y)
        x = paddle.concat([x, y], axis=1) if layer % 2 else y
    return x


def trained(paddle: Any, np: Any, clip: Callable[[Any], Any], run: Callable[[Any], Any]) -> dict[str, Any]:
    paddle.seed(3)
    program, startup, scope = paddle.static.Program(), paddle.static.Program(), paddle.static.Scope()
    with (
        paddle.static.program_guard(program, startup),
        paddle.utils.unique_name.guard(),
        paddle.static.scope_guard(scope),
    ):
        loss = paddle.mean(paddle.square(network(paddle, clip) - 0.1))
        paddle.optimizer.SGD(0.5).minimize(loss)
        paddle.static.Executor(paddle.CPUPlace()).run(startup)
        weights = {p.name: scope.find_var(p.name).get_tensor() for p in program.all_parameters()}
        for name, tensor in weights.items():
            if name.endswith("_pact"):
                tensor.set(np.array([0.7], np.float32), paddle.CPUPlace())  # clips a few values in a hundred
        step = run(program)
        rng = np.random.default_rng(0)
        losses = [float(step({"x": rng.normal(size=SHAPE).astype(np.float32)}, loss)) for _ in range(STEPS)]
        return {"losses": losses, "weights": {n: np.array(t).ravel().tolist() for n, t in weights.items()}}


def main() -> dict[str, Any]:
    import stages.paddle  # noqa: F401, I001  (the door comes before paddle itself)
    import numpy as np
    import paddle
    from paddleslim.quant.quanter import pact

    from stages.paddle.compression.calibrate import observe
    from stages.paddle.runtime.execution import Runner
    from stages.paddle.compression.pact import clip
    from stages.paddle.runtime.program import Program

    paddle.enable_static()

    def plain(program: Any) -> Any:
        executor = paddle.static.Executor(paddle.CPUPlace())
        return lambda feed, loss: executor.run(program, feed=feed, fetch_list=[loss])[0].item()

    def ours(program: Any) -> Any:
        runner = Runner(program, threads=2)
        return lambda feed, loss: runner.run(feed, [loss])[0].item()

    found: dict[str, Any] = {
        "plain": trained(paddle, np, pact, plain),
        "ours": trained(paddle, np, clip, ours),
    }
    program, startup = paddle.static.Program(), paddle.static.Program()
    with paddle.static.program_guard(program, startup), paddle.utils.unique_name.guard():
        output = network(paddle, lambda x: x)
    executor = paddle.static.Executor(paddle.CPUPlace())
    executor.run(startup)
    names = [op.output("Out")[0] for op in program.global_block().ops if op.type in ("swish", "concat")]
    rng = np.random.default_rng(1)
    feeds = [{"x": rng.normal(size=SHAPE).astype(np.float32)} for _ in range(4)]
    values = [executor.run(program.clone(for_test=True), feed=f, fetch_list=names) for f in feeds]
    maxima = observe(Program(program.clone(for_test=True), ["x"], [output.name]), names, feeds, 2)
    for place, name in enumerate(names):
        direct = np.concatenate([np.abs(v[place]).max(axis=(1, 2, 3)) for v in values])
        found.setdefault("ranges", []).append([direct.tolist(), maxima[name].tolist()])
    found["flag"] = paddle.get_flags("FLAGS_new_executor_serial_run")["FLAGS_new_executor_serial_run"]
    return found


if __name__ == "__main__":
    print(json.dumps(main()))
