"""Runs in a process that may load Paddle: mixtures of an FP32 and an INT8 model, in both of their forms.

python -m tests.stages.paddle.probe_mixing FP32.json INT8.json OUT BLOCK: writes ``none``, ``one`` (that block in float)
and ``all`` under OUT, with the outputs of ONNX Runtime and of a Paddle Inference INT8 engine for the same feeds, and
prints what the engine's audit found in float.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(base_file: Path, model_file: Path, out: Path, block: str, engines: bool = True) -> dict[str, Any]:
    from stages import backends
    from stages.artifacts import ExportedModel
    from stages.codec import artifact_from_json
    from stages.mixed_precision.workbench import MixedPrecisionBench
    from stages.options.sensitivity import SensitivityOptions
    from tests.fakes import FakeContext

    base, model = (artifact_from_json(json.loads(f.read_text())) for f in (base_file, model_file))
    assert isinstance(base, ExportedModel) and isinstance(model, ExportedModel)
    bench = MixedPrecisionBench(
        base, model, SensitivityOptions(backend="paddle_inference"), FakeContext(out / "context")
    )

    import numpy as np
    import onnxruntime

    def by_onnx(source: ExportedModel, feeds: dict[str, Any]) -> list[Any]:
        return list(onnxruntime.InferenceSession(str(source.path("model.onnx"))).run(None, feeds))

    rng = np.random.default_rng(0)
    feeds = {
        model.image_input: rng.standard_normal((1, 3, *model.input_size)).astype(np.float32),
        model.scale_input: np.ones((1, 2), np.float32),
    }
    arrays = {
        f"{name}.{i}": value
        for name, one in (("fp32", base), ("int8", model))
        for i, value in enumerate(by_onnx(one, feeds))
    }
    audits = {}
    for name, floats in (("none", []), ("one", [block]), ("all", list(bench.blocks))):
        made = bench.export(floats)
        arrays |= {f"{name}.onnx.{i}": value for i, value in enumerate(by_onnx(made, feeds))}
        if not engines:
            continue
        engine = bench.build(made, tune=False)
        audits[name] = engine.notes["audit"]
        with backends.get(engine.backend).open(engine) as session:
            arrays |= {f"{name}.paddle.{i}": np.array(value) for i, value in enumerate(session.infer(feeds))}
    np.savez(out / "outputs.npz", **arrays)
    left = {name: [layer["name"] for layer in audit["float_layers"]] for name, audit in audits.items()}
    return {"float_layers": left, "block": bench.blocks[block], "blocks": list(bench.blocks)}


if __name__ == "__main__":
    print(
        json.dumps(
            main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], "onnx" not in sys.argv[5:])
        )
    )
