"""Runs in a process that may load Paddle: python -m tests.stages.paddle.hurt FOLDER FACTOR WEIGHTS...

Shrinks the ranges of what the named layers compute for each other, so that these values saturate: the layers' results
before their activation functions, and what only these layers read.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(folder: Path, factor: float, weights: set[str]) -> None:
    import stages.paddle  # isort: skip  # noqa: F401
    import numpy as np
    import paddle

    from stages.paddle.runtime.program import fresh_scope, load_program

    with fresh_scope() as scope:
        program = load_program(folder / "model.pdmodel", folder / "model.pdiparams")
        ops = program.ops()
        readers: dict[str, list[object]] = {}
        for op in ops:
            for name in op.input_arg_names:
                readers.setdefault(name, []).append(op)
        own = [op for op in ops if op.type == "conv2d" and op.input("Filter")[0].split(".quantized")[0] in weights]
        assert len(own) == len(weights)
        results = {op.output("Output")[0] for op in own}
        hurt = []
        for op in ops:
            if op.type != "quantize_linear":
                continue
            backs = readers[op.output("Y")[0]]
            read_by = [reader for back in backs for reader in readers[back.output("Y")[0]]]  # type: ignore[attr-defined]
            if op.input("X")[0] in results or all(any(reader is one for one in own) for reader in read_by):
                tensor = scope.find_var(op.input("Scale")[0]).get_tensor()
                tensor.set((np.asarray(tensor) * factor).astype(np.float32), paddle.CPUPlace())
                hurt.append(op.input("X")[0])
        program.save(folder / "model")
    print(json.dumps(hurt))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), set(sys.argv[3:]))
