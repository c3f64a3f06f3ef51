"""A check of GPUs that fits in a pocket: ``make gpu-pack``.

Writes folders of at most 60 MiB, ``part-1``, ``part-2`` and so on, for a machine with a GPU and without a network:

- graphs of PP-YOLOE as detpress lowers them for ONNX Runtime's CUDA provider and for TensorRT for RTX, without their
  weights (``fill.py`` draws others from a seed, with the same means and deviations; the quantizers' scales are kept);
- ``check.py``, which needs Python, numpy and onnx (and uses an installed ONNX Runtime if the pack has none);
- on request the wheels, cut into pieces: ``--wheels`` (onnxruntime-gpu), ``--rtx`` (TensorRT for RTX), or from a folder
  with ``--wheels-from``.

Exit codes: 0, or 2 if a wheel cannot be had (the graphs are packed all the same).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from stages.backends.onnxruntime import cuda
from stages.backends.onnxruntime.backend import RECIPES
from stages.backends.tensorrt.recipe import RECIPE as TENSORRT
from stages.latency import gpu
from stages.lowering.half import LARGEST
from stages.lowering.magnitudes import largest
from stages.lowering.passes import lower
from tests.benchmarks.pocket import fill, join, steps
from tests.conftest import ROOT

MIB = 1 << 20
LIMIT, PIECE = 60 * MIB, 46 * MIB
SEED = "detpress gpu-pack 1"
POCKET = Path(fill.__file__).parent
BORROWED = {"gpu_clocks.py": gpu, "cuda_launch.py": cuda}
"""Modules of detpress that need Python, numpy and ONNX Runtime at most; NVML's are asked if nvidia-ml-py is there."""
PROGRAMS = ("check.py", "steps.py", "rtx.py", "fill.py", "join.py", "turns.py", "missing.py")
LOWERED: dict[str, tuple[str, tuple[str, ...]]] = {
    "fp32": ("fp32", ()),
    "fp16": ("fp32", ("to_half",)),
    "int8": ("int8", tuple(RECIPES["cuda"])),
    "int8_fp16": ("int8", (*RECIPES["cuda"], "to_half")),
    "rtx_int8": ("int8", TENSORRT),
    "rtx_int8_fp16": ("int8", (*TENSORRT, "to_half")),
}
"""Graph -> the exported model it is made of, and by which passes."""
WEIGHTED = {"Conv", "ConvTranspose", "MatMul", "Gemm"}
SMALLEST = 64
"""Elements from which on a weight is drawn; smaller ones (the bins of a box's edges) travel as they are."""
SHRINKS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
FAR = 16
GPU_WHEELS = ("onnxruntime-gpu",)
RTX_WHEELS = ("tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings")


def emptied(model: onnx.ModelProto, shrink: float = 1.0) -> tuple[onnx.ModelProto, list[dict[str, Any]]]:
    """A copy without weights, and what `fill.draw` needs for each of them.

    ``shrink``: times the mean and deviation of those in float.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    _constants_to_initializers(bare)
    makers = {name: node for node in bare.graph.node for name in node.output}
    wanted: set[str] = set()
    for node in bare.graph.node:
        for name in node.input[1:3] if node.op_type in WEIGHTED else ():
            while name in makers and makers[name].op_type in (
                "DequantizeLinear",
                "QuantizeLinear",
                "Cast",
                "Transpose",
            ):
                name = makers[name].input[0]
            wanted.add(name)
    entries = []
    for tensor in bare.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name not in wanted or values.size < SMALLEST or values.dtype.kind not in "fiu":
            continue
        real = values.astype(np.float64) * (shrink if values.dtype.kind == "f" else 1)
        entry = {
            "name": tensor.name,
            "of": tensor.name.removesuffix("_half"),  # to_half's names: the same numbers, rounded
            "shape": list(values.shape),
            "dtype": values.dtype.name,
            "mean": float(real.mean()),
            "deviation": float(real.std()),
            "low": float(real.min()),
            "high": float(real.max()),
        }
        entries.append({**entry, "sha256": fill.digest(fill.draw(SEED, entry))})
        named, dims, kind = tensor.name, list(tensor.dims), tensor.data_type
        tensor.Clear()
        tensor.name, tensor.data_type = named, kind
        tensor.dims.extend(dims)
    return bare, entries


def _constants_to_initializers(model: onnx.ModelProto) -> None:
    kept = []
    for node in model.graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None) if node.op_type == "Constant" else None
        if value is None:
            kept.append(node)
            continue
        tensor = model.graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def pack_graphs(models: Mapping[str, Mapping[str, Path]], part: Path) -> None:
    """The programs, the graphs and their manifest.

    Args:
        models: name -> ``fp32`` and ``int8`` -> exported ONNX.
    """
    graphs: dict[str, Any] = {}
    shrinks = {model: fitting(onnx.load(str(files["fp32"]))) for model, files in models.items()}
    part.mkdir(parents=True)
    for name in PROGRAMS:
        shutil.copyfile(POCKET / name, part / name)
    for name, module in BORROWED.items():
        shutil.copyfile(str(module.__file__), part / name)
    for model, files in models.items():
        for graph, (source, passes) in LOWERED.items():
            lowered, _ = lower(onnx.load(str(files[source])), passes)
            bare, entries = emptied(lowered, shrinks[model])
            file = f"{model}.{graph}.onnx"
            onnx.save(bare, str(part / file))
            about = {"model": model, "variant": graph, "passes": list(passes), "file": file, "shrink": shrinks[model]}
            graphs[f"{model}.{graph}"] = {**about, "sha256": join.sha256(part / file), "tensors": entries}
    (part / "graphs.json").write_text(json.dumps({"schema_version": 1, "seed": SEED, "graphs": graphs}) + "\n")


def fitting(model: onnx.ModelProto) -> float:
    """How much smaller weights have to be drawn for a float graph to stay far within FP16's range, 1 or less.

    Drawn weights of a deep detector make each layer a little larger than the one before, which its own do not.
    """
    for shrink in SHRINKS:
        bare, entries = emptied(model, shrink)
        fill.fill(bare, entries, SEED)
        if max(largest(bare, [steps.feeds(bare)]).values()) < LARGEST / FAR:
            return shrink
    return SHRINKS[-1]


def pack_wheels(wheels: Sequence[Path], out: Path, piece: int = PIECE) -> None:
    """A folder for each piece of each wheel, from the first free number on, with the list of all in ``part-1``."""
    listed = []
    for wheel in wheels:
        pieces = []
        with wheel.open("rb") as file:
            while block := file.read(piece):
                part = out / f"part-{len(list(out.glob('part-*'))) + 1}"
                part.mkdir()
                path = part / f"{wheel.name}.{len(pieces)}"
                path.write_bytes(block)
                pieces.append({"name": path.name, "bytes": len(block), "sha256": join.sha256(path)})
        listed.append({"name": wheel.name, "sha256": join.sha256(wheel), "pieces": pieces})
    (out / "part-1" / join.MANIFEST).write_text(json.dumps({"schema_version": 1, "wheels": listed}, indent=1) + "\n")


def download(names: Sequence[str], python: str, folder: Path) -> str | None:
    """Fetch wheels by pip; give what is missing and why, or nothing."""
    for name in names:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--python-version", python, "--dest", str(folder), name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip gave no reason"]
            return f"the wheel of {name} for Python {python} is missing: {said[-1].removeprefix('ERROR: ')}"
    return None


def export(model: str, folder: Path, images: int) -> dict[str, Path]:
    """The exported FP32 and INT8 graphs of a detector with drawn weights; needs Paddle, takes minutes."""
    from pipelines.execution import ids
    from tests.benchmarks import preparing

    config = preparing.config_of(folder, model, images)
    nodes = [node for node in preparing.own_nodes(config) if not node.id.startswith("build.")]
    artifacts = preparing.made(folder, config, nodes)
    return {p: artifacts[ids.export(p)].path("model.onnx") for p in ("fp32", "int8")}


def too_large(out: Path) -> list[str]:
    sizes = {p.name: sum(f.stat().st_size for f in p.iterdir()) for p in sorted(out.glob("part-*"))}
    return [f"{name} has {size / MIB:.1f} MiB" for name, size in sizes.items() if size > LIMIT]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make gpu-pack", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("artifacts/gpu-pack"))
    parser.add_argument("--models", nargs="+", default=["ppyoloe_tiny", "ppyoloe_s"])
    parser.add_argument("--images", type=int, default=8, help="to calibrate on")
    parser.add_argument("--wheels", action="store_true", help="fetch onnxruntime-gpu by pip and pack it")
    parser.add_argument("--rtx", action="store_true", help="fetch TensorRT for RTX by pip and pack it")
    parser.add_argument(
        "--python", default=f"{sys.version_info[0]}.{sys.version_info[1]}", help="of the machine with the GPU"
    )
    parser.add_argument("--wheels-from", type=Path, help="a folder with wheels to pack, in place of fetching them")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "detpress-gpu-pack",
                        help="keeps the exported models for the next call")  # fmt: skip
    options = parser.parse_args(arguments)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    # A folder for each: images of the first one's size would be what the next one is calibrated on.
    models = {model: export(model, options.work / model, options.images) for model in options.models}
    for old in options.out.glob("part-*"):
        shutil.rmtree(old)
    pack_graphs(models, options.out / "part-1")
    return finish(options)


def finish(options: argparse.Namespace) -> int:
    """Pack the wheels that are asked for, look at the sizes, and tell what there is."""
    wheels = sorted(options.wheels_from.glob("*.whl")) if options.wheels_from else []
    missing = None if wheels or not options.wheels_from else f"{options.wheels_from} has no wheels"
    with tempfile.TemporaryDirectory() as folder:
        names = (*(GPU_WHEELS if options.wheels else ()), *(RTX_WHEELS if options.rtx else ()))
        missing = download(names, options.python, Path(folder)) or missing
        wheels += sorted(Path(folder).glob("*.whl"))
        if wheels:
            pack_wheels(wheels, options.out)
    if large := too_large(options.out):
        print(f"too large to carry: {', '.join(large)} (at most {LIMIT // MIB})", file=sys.stderr)
        return 4
    parts = sorted(options.out.glob("part-*"))
    print(f"written: {len(parts)} folders in {options.out}; with the GPU: python {parts[0]}/check.py")
    if missing:
        print(f"{missing}. Fetch it where there is a network, then --wheels-from FOLDER", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
