"""Runs inside a process that may load Paddle: what can be told of Paddle's TensorRT without a GPU.

python -m tests.stages.paddle.probe_tensorrt MODEL_FOLDER FOLDER > JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


class Recorded:
    """Paddle's real config: what it is asked for is passed on and kept. Without TensorRT it refuses to enable it."""

    def __init__(self, config: Any) -> None:
        self.config, self.calls, self.refused = config, list[Any](), ""

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.config, name)

        def call(*given: Any, **named: Any) -> None:
            plain = {k: getattr(v, "name", v) for k, v in named.items()}
            self.calls.append([name, list(given), plain])
            try:
                method(*given, **named)  # a wrong name or type is a TypeError here
            except RuntimeError as error:
                self.refused = str(error)

        return call


def optimized(target: Path) -> None:
    """A program as Paddle leaves it: a convolution outside, and in TensorRT's block one with ranges and one without."""
    from paddle.framework import core

    program = core.ProgramDesc()
    root = program.block(0)
    inside = program.append_block(root)
    for block, name in ((root, "outside"), (inside, "a"), (inside, "b")):
        op = block.append_op()
        op.set_type("conv2d")
        op.set_input("Filter", [name])
        if name == "a":
            op._set_attr("Input_scale_image", 0.5)
            op._set_attr("weight_scale", 0.1)
    engine = root.append_op()
    engine.set_type("tensorrt_engine")
    engine.set_block_attr("sub_block", inside)
    target.write_bytes(program.serialize_to_string())


def main(model: Path, folder: Path) -> dict[str, Any]:
    from stages.paddle.inference import engine, tensorrt  # isort: skip  (the door comes before paddle itself)
    import paddle.inference as inference

    from stages.artifacts import Precision
    from stages.errors import UnavailableError

    _, _, feeds = engine.lowered(model / engine.PROGRAM, model / engine.PARAMS, ("fold_bias",), 1, folder)
    tensorrt.collect_shapes(folder / engine.PROGRAM, folder / engine.PARAMS, feeds, folder / tensorrt.SHAPES)
    found: dict[str, Any] = {"shapes": (folder / tensorrt.SHAPES).read_text(), "calls": {}}
    for precision in Precision:
        for fp16 in (False, True):
            recorded = Recorded(inference.Config(str(folder / engine.PROGRAM), str(folder / engine.PARAMS)))
            switches = tensorrt.Switches(
                batch=2, threads=1, fp16=fp16, min_subgraph_size=5, workspace_mb=512, optimization_level=3
            )
            tensorrt.configure(recorded, precision, switches, folder / tensorrt.SHAPES, folder)
            found["calls"][f"{precision}{' in fp16' if fp16 else ''}"] = recorded.calls
            found["refused"] = recorded.refused
    try:
        tensorrt.require_tensorrt()
    except UnavailableError as error:
        found["unavailable"] = str(error)
    optimized(folder / "program")
    formats = tensorrt.format_of(Precision.INT8, fp16=False)
    found["audit"] = engine.audit_program(folder / "program", {"outside": [10], "a": [30], "b": [20]}, formats)
    return found


if __name__ == "__main__":
    result = main(Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps(result))
