"""Paddle Inference with TensorRT subgraphs, on an NVIDIA GPU.

Everything that touches Paddle lies behind the door, `stages.paddle`; the switches are in
`stages/paddle/inference/tensorrt.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from stages.artifacts import Engine, ExportedModel, Precision
from stages.backends.base import (
    Available,
    Built,
    Session,
    Unavailable,
    cpu_name,
    nvidia_driver,
    nvidia_gpus,
    own_options,
    parse_options,
    version_of,
)
from stages.backends.paddle_tensorrt.options import PaddleTensorRtOptions
from stages.backends.paddle_tensorrt.recipe import RECIPES
from stages.backends.tensorrt.backend import NO_GPU
from stages.backends.variants import PLAIN, float_format
from stages.numerics.variants import FloatFormat, Variant
from stages.options.backend import BackendOptions

if TYPE_CHECKING:
    from stages.paddle.inference.tensorrt import Switches

INSTALL = 'pip install "detpress[gpu]"'


class PaddleTensorRt:
    """Paddle Inference that hands to TensorRT what TensorRT can compute."""

    name: ClassVar[str] = "paddle_tensorrt"
    Options: ClassVar[type[BackendOptions]] = PaddleTensorRtOptions
    for_gpus: ClassVar[bool] = True
    uses_paddle: ClassVar[bool] = True

    def availability(self, options: BackendOptions | None = None) -> Available | Unavailable:
        own_options(self.name, PaddleTensorRtOptions, options or PaddleTensorRtOptions())
        version = version_of("paddlepaddle-gpu")
        if version is None:
            cpu = version_of("paddlepaddle")
            reason = f"this paddlepaddle {cpu} is built without CUDA and TensorRT" if cpu else "Paddle is not installed"
            return Unavailable(reason, INSTALL)
        if version_of("paddledet") is None:
            return Unavailable("the package paddledet is not installed", "pip install --no-deps paddledet==2.6.0")
        if nvidia_driver() is None:
            return Unavailable(NO_GPU)
        return Available(f"paddlepaddle-gpu {version} with TensorRT, {', '.join(nvidia_gpus()) or 'GPU'}")

    def fingerprint(self) -> Mapping[str, str]:
        found = {name: version_of(name) for name in ("paddlepaddle", "paddlepaddle-gpu", "tensorrt")}
        found |= {"driver": nvidia_driver(), "gpu": ", ".join(nvidia_gpus())}
        return {**{k: v for k, v in found.items() if v}, "cpu": cpu_name()}

    def default_variants(self, options: BackendOptions) -> Sequence[str]:
        return PLAIN if _own(options).fp16 else ("fp32", "fp16", "int8")

    def why_not(self, wanted: Variant, options: BackendOptions) -> str | None:
        if wanted.pinned:
            return "Paddle Inference copies through its own buffers, which are not page-locked"
        if wanted.floats is FloatFormat.BF16:
            return "Paddle hands TensorRT parts in FP32, FP16 and INT8 only"
        if not wanted.is_float and wanted.floats is FloatFormat.FP16:
            return "Paddle lets TensorRT use FP16 in every INT8 engine, so this is what int8 is"
        if wanted.floats is FloatFormat.FP16 and _own(options).fp16:
            return f"backend.{self.name}.fp16=true says what every engine computes in"
        return None

    def prepare(self) -> None:
        import stages.paddle.inference.tensorrt  # noqa: F401

    def build(self, model: ExportedModel, precision: Precision, options: BackendOptions, out: Path) -> Built:
        chosen = own_options(self.name, PaddleTensorRtOptions, options)
        from stages.paddle.inference import engine, tensorrt

        program, params = model.path(engine.PROGRAM), model.path(engine.PARAMS)
        passes = RECIPES[precision] if chosen.passes is None else chosen.passes
        switches = _switches(chosen, model.batch, float_format(precision, chosen))
        notes = tensorrt.build(program, params, precision, out, passes=passes, switches=switches)
        return Built(engine.PROGRAM, notes)

    @contextmanager
    def open(self, engine: Engine) -> Iterator[Session]:
        from stages.paddle.inference import tensorrt

        options = parse_options(self.name, PaddleTensorRtOptions, engine.options)
        switches = _switches(options, engine.batch, engine.variant.floats)
        with tensorrt.open_session(engine.root, engine.variant.weights, switches) as session:
            yield session


def _own(options: BackendOptions) -> PaddleTensorRtOptions:
    return own_options(PaddleTensorRt.name, PaddleTensorRtOptions, options)


def _switches(options: PaddleTensorRtOptions, batch: int, floats: FloatFormat) -> Switches:
    from stages.paddle.inference.tensorrt import Switches

    return Switches(
        batch=batch,
        threads=options.threads,
        fp16=options.fp16 or floats is FloatFormat.FP16,
        min_subgraph_size=options.min_subgraph_size,
        workspace_mb=options.workspace_mb,
        optimization_level=options.optimization_level,
    )
