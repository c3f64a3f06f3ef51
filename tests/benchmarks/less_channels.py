"""What fewer channels are worth: INT8 of pruned models against plain INT8. The last line is JSON.

``python -m tests.benchmarks.less_channels --model ppyoloe_s``: drawn weights, 640x640, batch 1, one thread, quantized
after training, on ONNX Runtime and OpenVINO. Each engine has a process of its own and they run in turns.

- ``ort``, ``openvino``: per fraction, how many times faster than the plain INT8 engine of the same backend, with bounds
  of 95 %, and by processor time; ``over_fp32``: than the plain FP32 engine.
- ``macs``: the share of multiply-adds that is left.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from pipelines.config.schema import PipelineConfig
from pipelines.execution.runner import Node, Ref
from stages.artifacts import Artifact, Engine
from tests.benchmarks.backends import cpu_ms, ratio, time_all
from tests.benchmarks.preparing import config_of, images_of, made, own_nodes
from tests.benchmarks.thinned import ThinnedOptions
from tests.conftest import ROOT

BACKENDS = {"onnxruntime": "ort", "openvino": "openvino"}


def thinned_nodes(nodes: list[Node], name: str, asked: ThinnedOptions) -> list[Node]:
    """The stages behind ``export.fp32`` once more, for the model without some channels; ``name`` ends their ids."""
    fp32 = next(node for node in nodes if node.id == "export.fp32")
    behind = [node for node in nodes if node.id == "distill" or ".int8" in node.id]
    images = fp32.inputs["images"]
    thin = Node(
        id=f"thin.{name}", stage="tests.benchmarks.thinned:Thinned", options=asked,
        inputs={"model": Ref("export.fp32"), "images": images}, seeded=True,
    )  # fmt: skip
    unnamed = dataclasses.replace(fp32.options.model, architecture={})  # its layers have other shapes
    copies = {"export.fp32": f"export.fp32.{name}", **{node.id: f"{node.id}.{name}" for node in behind}}
    export = dataclasses.replace(
        fp32,
        id=copies["export.fp32"],
        options=dataclasses.replace(fp32.options, model=unnamed),
        inputs={**fp32.inputs, "model": Ref(thin.id)},
    )

    def renamed(value: Any) -> Any:
        return Ref(copies.get(value.node, value.node)) if isinstance(value, Ref) else value

    return [
        thin,
        export,
        *(
            dataclasses.replace(node, id=copies[node.id], inputs={k: renamed(v) for k, v in node.inputs.items()})
            for node in behind
        ),
    ]


def engines_of(artifacts: dict[str, Artifact], names: list[str]) -> dict[str, Engine]:
    """``ort``, ``ort.0.3`` and so on; ``ort_fp32``."""
    found = {}
    for backend, short in BACKENDS.items():
        for node, name in [
            (f"build.{backend}.fp32", f"{short}_fp32"),
            (f"build.{backend}.int8", short),
            *((f"build.{backend}.int8.{n}", f"{short}.{n}") for n in names),
        ]:
            engine = artifacts[node]
            assert isinstance(engine, Engine)
            found[name] = engine
    return found


def prepared(folder: Path, config: PipelineConfig, asked: dict[str, ThinnedOptions]) -> dict[str, Artifact]:
    nodes = own_nodes(config)
    more = [node for name, one in asked.items() for node in thinned_nodes(nodes, name, one)]
    return made(folder, config, [*nodes, *more])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="ppyoloe_s")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.2, 0.3, 0.5])
    parser.add_argument("--multiples", type=int, nargs="+", default=[16])
    parser.add_argument("--spread", default="uniform")
    parser.add_argument("--criterion", default="magnitude")
    parser.add_argument("--images", type=int, default=4, help="to calibrate on")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3, help="of each round")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "detpress-bench-channels",
                        help="keeps what was made, for the next call")  # fmt: skip
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    folder = options.folder.resolve()
    # Drawn weights amplify what ONNX and Paddle round differently; speed is all that is looked at.
    more = ("backend.openvino.variants=[fp32,int8]", "export.max_difference=0.1")
    config = config_of(folder, options.model, options.images, *more)
    asked = {
        f"{fraction:g}" + (f"x{multiple}" if len(options.multiples) > 1 else ""): ThinnedOptions(
            fraction, options.criterion, options.spread, multiple=multiple
        )
        for fraction in options.fractions
        for multiple in options.multiples
    }
    artifacts = prepared(folder, config, asked)
    engines = engines_of(artifacts, list(asked))
    paths = [entry["path"] for entry in json.loads(images_of(artifacts).path("images.json").read_text())]
    timings, _ = time_all(engines, paths, options.rounds, options.runs)
    found: dict[str, Any] = {}
    for short in BACKENDS.values():
        for name in ["", *(f".{n}" for n in asked)]:
            own = timings[short + name]
            over = {"over_fp32": ratio(timings[f"{short}_fp32"], own), "over_int8": ratio(timings[short], own)}
            found[short + name] = {"cpu_ms": round(cpu_ms(own), 2), **over}
            print(f"{short + name:16} {cpu_ms(own):8.2f} ms of processor time, {over}", flush=True)
    print(json.dumps({"model": options.model, "spread": options.spread, **found}))


if __name__ == "__main__":
    main()
