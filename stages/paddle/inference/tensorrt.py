"""Engines of Paddle Inference with TensorRT subgraphs: the shapes first, then the engines, in one go.

Paddle hands TensorRT the parts of the program that it can compute. To build them it wants the shape of every tensor
inside, which it writes down in a run of its own (the plain program, on the CPU); the seed's scripts had to be started
twice for that.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle.inference as inference

from stages.artifacts import Precision
from stages.errors import StageError, UnavailableError
from stages.paddle.inference.engine import OPTIMIZED, PARAMS, PROGRAM, Session, audit_program, lowered, plain_config

Array = npt.NDArray[Any]
SHAPES = "shapes.pbtxt"
SERIALIZED = "trt_serialized_*"
"""What Paddle calls the engines it keeps."""
GPU_MEMORY_MB = 256


@dataclass(frozen=True)
class Switches:
    """How TensorRT builds its engines; the backend's options say what each is for."""

    batch: int
    threads: int
    fp16: bool
    min_subgraph_size: int
    workspace_mb: int
    optimization_level: int


def build(
    program: Path, params: Path, precision: Precision, out: Path, *, passes: Sequence[str], switches: Switches
) -> dict[str, Any]:
    """Write the program after the named passes, the shapes and TensorRT's engines to ``out``; returns the notes.

    Raises:
        UnavailableError: this Paddle is built without TensorRT.
        StageError: Paddle cannot read the model or run it as asked, or hands no part of it to TensorRT.
    """
    require_tensorrt()
    reports, work, feeds = lowered(program, params, passes, switches.batch, out)
    collect_shapes(out / PROGRAM, out / PARAMS, feeds, out / SHAPES)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        config = plain_config(out / PROGRAM, out / PARAMS, scratch)
        configure(config, precision, switches, out / SHAPES, scratch)
        Session(config).infer(feeds)
        engines = sorted(scratch.glob(SERIALIZED))
        if not engines:
            raise StageError(
                "Paddle handed no part of the program to TensorRT; set backend.paddle_tensorrt.min_subgraph_size lower"
            )
        for engine in engines:
            shutil.copyfile(engine, out / engine.name)
        notes: dict[str, Any] = {"passes": reports, "subgraphs": len(engines)}
        try:
            notes["audit"] = {**audit_program(scratch / OPTIMIZED, work, format_of(precision, fp16=switches.fp16)),
                              "read_from": "program"}  # fmt: skip
        except StageError as error:
            notes["warnings"] = [f"no audit: {error}"]
    return notes


@contextmanager
def open_session(folder: Path, precision: Precision, switches: Switches) -> Iterator[Session]:
    """A session on what `build` wrote; on a copy, since Paddle writes beside the program what it misses."""
    require_tensorrt()
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "engine"
        shutil.copytree(folder, copy)
        config = plain_config(copy / PROGRAM, copy / PARAMS)
        configure(config, precision, switches, copy / SHAPES, copy)
        yield Session(config)


def require_tensorrt() -> None:
    """Raises UnavailableError if the installed Paddle has no TensorRT in it, or does not find TensorRT's library."""
    if tuple(inference.get_trt_compile_version()) == (0, 0, 0):
        raise UnavailableError('this Paddle is built without TensorRT; pip install "detpress[gpu]"')
    try:
        found = tuple(inference.get_trt_runtime_version())
    except RuntimeError as error:
        raise UnavailableError(f"Paddle cannot load TensorRT ({error}); put libnvinfer on LD_LIBRARY_PATH") from error
    if found == (0, 0, 0):
        wanted = ".".join(map(str, inference.get_trt_compile_version()))
        raise UnavailableError(f"Paddle does not find TensorRT; put libnvinfer {wanted} on LD_LIBRARY_PATH")


def collect_shapes(program: Path, params: Path, feeds: Mapping[str, Array], target: Path) -> None:
    """Run the program once as it stands and write down the shape of every tensor; on the CPU, which needs no GPU.

    Paddle writes the file when its predictor is gone.
    """
    config = inference.Config(str(program), str(params))
    config.disable_glog_info()
    config.disable_gpu()
    config.collect_shape_range_info(str(target))
    Session(config).infer({name: np.ascontiguousarray(value) for name, value in feeds.items()})
    if not target.is_file():
        raise StageError("Paddle wrote no shapes of the program's tensors; see the stage's log for what it says")


def configure(config: Any, precision: Precision, switches: Switches, shapes: Path, cache: Path) -> None:
    """TensorRT's switches of a Paddle config.

    INT8 takes the ranges that the program carries in its Q/DQ operators: ``use_calib_mode`` would measure others.
    """
    config.enable_use_gpu(GPU_MEMORY_MB, 0)
    config.set_cpu_math_library_num_threads(switches.threads)
    config.enable_tensorrt_engine(
        workspace_size=switches.workspace_mb << 20,
        max_batch_size=switches.batch,
        min_subgraph_size=switches.min_subgraph_size,
        precision_mode=_mode(precision, fp16=switches.fp16),
        use_static=True,
        use_calib_mode=False,
    )
    config.set_tensorrt_optimization_level(switches.optimization_level)
    config.enable_tuned_tensorrt_dynamic_shape(str(shapes), False)
    config.set_optim_cache_dir(str(cache))


def format_of(precision: Precision, *, fp16: bool) -> Any:
    """For `audit_program`: inside a subgraph, an operator with ranges runs in INT8, another in FP16 or FP32.

    TensorRT may still prefer FP16 for a layer that it may run in INT8; Paddle does not tell.
    """
    other = "fp16" if fp16 or precision is Precision.INT8 else "fp32"

    def read(block: int, op: Any) -> str:
        if block == 0:
            return "fp32"  # Paddle's own kernels
        ranges = [name for name in op.attr_names() if name.startswith("Input_scale")]
        whole = bool(ranges) and any(name.startswith(("weight_scale", "Filter_scale", "Y_scale", "enable_int8"))
                                     for name in op.attr_names())  # fmt: skip
        return "int8" if precision is Precision.INT8 and whole else other

    return read


def _mode(precision: Precision, *, fp16: bool) -> Any:
    kinds = inference.PrecisionType
    if precision is Precision.INT8:
        return kinds.Int8
    return kinds.Half if fp16 else kinds.Float32
