"""Paddle Inference: oneDNN on the CPU, in FP32, BF16 or INT8; CUDA in FP32.

The engine is the exported Paddle program after the passes of `stages/paddle/inference/lowering.py`. Everything
that touches Paddle lies behind the door, `stages.paddle`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from stages.artifacts import Engine, ExportedModel, Precision
from stages.backends.base import (
    Available,
    Built,
    Session,
    Unavailable,
    cpu_has,
    cpu_name,
    nvidia_driver,
    own_options,
    parse_options,
    version_of,
)
from stages.backends.paddle_inference.options import PaddleInferenceOptions
from stages.backends.paddle_inference.recipe import RECIPES
from stages.backends.variants import PLAIN, built_variant, no_openings
from stages.errors import UnavailableError
from stages.numerics.variants import FloatFormat, Variant
from stages.options.backend import BackendOptions
from stages.options.export import Inside

BF16 = ("avx512_bf16", "amx_bf16")
"""CPU instructions; without them oneDNN would convert back and forth, which is slower than FP32."""


class PaddleInference:
    """Paddle Inference without TensorRT."""

    name: ClassVar[str] = "paddle_inference"
    Options: ClassVar[type[BackendOptions]] = PaddleInferenceOptions
    uses_paddle: ClassVar[bool] = True
    no_profile: ClassVar[str] = "Paddle Inference prints sums by operator when it ends, nothing of single layers"

    def availability(self, options: BackendOptions | None = None) -> Available | Unavailable:
        device = own_options(self.name, PaddleInferenceOptions, options or PaddleInferenceOptions()).device
        gpu = version_of("paddlepaddle-gpu")
        version = gpu or version_of("paddlepaddle")
        if version is None:
            return Unavailable("the package paddlepaddle is not installed", 'pip install "detpress[paddle]"')
        if version_of("paddledet") is None:
            return Unavailable("the package paddledet is not installed", "pip install --no-deps paddledet==2.6.0")
        if device == "cuda" and gpu is None:
            return Unavailable(f"this paddlepaddle {version} is built without CUDA", 'pip install "detpress[gpu]"')
        if device == "cuda" and nvidia_driver() is None:
            return Unavailable("this machine has no NVIDIA GPU (no driver is loaded)")
        return Available(f"paddlepaddle {version}, {'oneDNN' if device == 'cpu' else 'CUDA'}")

    def fingerprint(self) -> Mapping[str, str]:
        found = {name: version_of(name) for name in ("paddlepaddle", "paddlepaddle-gpu")}
        found["driver"] = nvidia_driver()
        return {**{k: v for k, v in found.items() if v}, "cpu": cpu_name()}

    def default_variants(self, options: BackendOptions) -> Sequence[str]:
        return PLAIN if _own(options).device == "cuda" else ("fp32", "bf16", "int8")

    def why_not(self, wanted: Variant, options: BackendOptions) -> str | None:
        if reason := no_openings("Paddle Inference, which has its own buffers,", wanted):
            return reason
        if wanted.floats is FloatFormat.FP32:
            return None
        if _own(options).device == "cuda":
            return "Paddle Inference without TensorRT is used in FP32 on CUDA; take the backend paddle_tensorrt"
        if wanted.floats is FloatFormat.FP16:
            return "Paddle's oneDNN kernels compute in FP32, BF16 and INT8, not in FP16"
        if not wanted.is_float:
            return "Paddle's oneDNN keeps what is float in an INT8 engine in FP32"
        if not cpu_has(*BF16):
            return f"this CPU has neither {' nor '.join(BF16)}"
        # Its passes put that operator between BF16 and FP32 (seen with 3.3.1, whose INT8 engines run).
        return "Paddle 3 has no kernel that converts from BF16 (its operator dequantize)" if _is_paddle_3() else None

    def prepare(self) -> None:
        import stages.paddle.inference.engine  # noqa: F401

    def why_not_inside(self, inside: Inside, options: BackendOptions) -> str | None:
        return "pixels are normalised in ONNX graphs, not in Paddle's programs" if inside.preprocess else None

    def build(
        self,
        model: ExportedModel,
        precision: Precision,
        options: BackendOptions,
        out: Path,
        inside: Inside | None = None,
    ) -> Built:
        chosen = own_options(self.name, PaddleInferenceOptions, options)
        if chosen.device == "cuda" and precision is Precision.INT8:
            raise UnavailableError(
                "Paddle Inference has no INT8 kernels for CUDA; use the backend paddle_tensorrt, or "
                "backend.paddle_inference.device=cpu"
            )
        from stages.paddle.inference import engine

        notes = engine.build(
            model.path(engine.PROGRAM),
            model.path(engine.PARAMS),
            built_variant(precision, chosen),
            model.batch,
            out,
            passes=RECIPES[precision] if chosen.passes is None else chosen.passes,
            device=chosen.device,
            threads=chosen.threads,
            nms=inside.nms if inside is not None else None,
        )
        return Built(main=engine.PROGRAM, notes=notes)

    def is_repeatable(self, engine: Engine) -> bool:
        return parse_options(self.name, PaddleInferenceOptions, engine.options).device == "cpu"

    @contextmanager
    def open(self, engine: Engine) -> Iterator[Session]:
        from stages.paddle.inference import engine as paddle_engine

        options = parse_options(self.name, PaddleInferenceOptions, engine.options)
        program, params = engine.path(engine.main), engine.path(paddle_engine.PARAMS)
        config = paddle_engine.plain_engine(
            program, params, engine.variant, device=options.device, threads=options.threads
        )
        if engine.inside is not None and engine.inside.nms is not None:
            yield paddle_engine.NmsSession(config, engine.inside.nms)
        else:
            yield paddle_engine.Session(config)


def _is_paddle_3() -> bool:
    version = version_of("paddlepaddle-gpu") or version_of("paddlepaddle") or ""
    return version.startswith("3.")


def _own(options: BackendOptions) -> PaddleInferenceOptions:
    return own_options(PaddleInference.name, PaddleInferenceOptions, options)
