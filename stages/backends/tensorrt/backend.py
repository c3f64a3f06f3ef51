"""TensorRT, and TensorRT for RTX: one code on two Python modules with the same interface.

INT8 is explicit quantization: the Q/DQ file after the passes of `recipe.py`. There is no calibrator; TensorRT 11 has
removed them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from stages.artifacts import MAGNITUDES_FILE, Engine, ExportedModel, Precision, digest_of
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
from stages.backends.profiled import ProfiledSession
from stages.backends.tensorrt.options import TensorRtOptions
from stages.backends.tensorrt.recipe import RECIPE
from stages.backends.variants import PLAIN, built_variant
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import StageError, UnavailableError
from stages.numerics.variants import FloatFormat, Variant
from stages.options.backend import BackendOptions
from stages.options.export import Inside

ENGINE_FILE = "model.engine"
NO_GPU = "this machine has no NVIDIA GPU (no driver is loaded)"


class TensorRt:
    """The module ``tensorrt``, 8.6 to 11. Its builder times kernels, so that it needs the GPU."""

    name: ClassVar[str] = "tensorrt"
    Options: ClassVar[type[BackendOptions]] = TensorRtOptions
    profiler: ClassVar[str] = "TensorRT's profiler"
    module: ClassVar[str] = "tensorrt"
    distributions: ClassVar[tuple[str, ...]] = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu11")
    install: ClassVar[str] = 'pip install "detpress[tensorrt]"'
    builds_without_gpu: ClassVar[bool] = False
    for_gpus: ClassVar[bool] = True
    onnx_recipe: tuple[str, ...] = RECIPE
    no_nms_inside: ClassVar[str | None] = None
    """Why its engines cannot hold NMS, if they cannot."""

    def availability(self, options: BackendOptions | None = None) -> Available | Unavailable:
        _own(self.name, options or TensorRtOptions())
        version = self._version()
        if version is None:
            return Unavailable(f"the package {self.distributions[0]} is not installed", self.install)
        if nvidia_driver() is None and not self.builds_without_gpu:
            return Unavailable(NO_GPU)
        if nvidia_driver() is None:
            return Available(f"{self.module} {version}, builds only: {NO_GPU}", can_run=False)
        return Available(f"{self.module} {version}, {', '.join(nvidia_gpus()) or 'GPU'}")

    def fingerprint(self) -> Mapping[str, str]:
        found = {name: version_of(name) for name in (*self.distributions, "onnx")}
        found |= {"driver": nvidia_driver(), "gpu": ", ".join(nvidia_gpus())}
        return {**{k: v for k, v in found.items() if v}, "cpu": cpu_name()}

    def default_variants(self, options: BackendOptions) -> Sequence[str]:
        """The columns of the main tables, and FP16; with an option that says it of all engines, the two plain ones."""
        chosen = _own(self.name, options)
        return PLAIN if chosen.fp16 else ("fp32", "fp16", "int8", "int8_fp16", "int8_fp16_pm")

    def why_not(self, wanted: Variant, options: BackendOptions) -> str | None:
        chosen = _own(self.name, options)
        if wanted.pinned and (chosen.pinned is not None or chosen.cuda_graph):
            said = "cuda_graph=true" if chosen.cuda_graph else f"pinned={str(chosen.pinned).lower()}"
            return f"backend.{self.name}.{said} says how every engine is opened"
        if wanted.floats is FloatFormat.BF16:
            return "its engines are built in FP32 and FP16"
        if wanted.floats is FloatFormat.FP16 and chosen.fp16:
            return f"backend.{self.name}.fp16=true says what every engine computes in"
        return None

    def prepare(self) -> None:
        self._import()

    def why_not_inside(self, inside: Inside, options: BackendOptions) -> str | None:
        return self.no_nms_inside if inside.nms is not None else None

    def build(
        self,
        model: ExportedModel,
        precision: Precision,
        options: BackendOptions,
        out: Path,
        inside: Inside | None = None,
    ) -> Built:
        chosen = _own(self.name, options)
        trt, source = self._import(), model.path("model.onnx")
        from stages.backends.tensorrt import building

        notes: dict[str, Any] = {}
        content, variant = source.read_bytes(), built_variant(precision, chosen)
        half = variant.floats is FloatFormat.FP16 and not building.has_fp16_flag(trt)
        if precision is Precision.INT8 or half:
            import onnx

            from stages.lowering.magnitudes import read
            from stages.lowering.passes import lower

            names = RECIPE if chosen.lowering is None else tuple(chosen.lowering)
            names = names if precision is Precision.INT8 else ()
            passes = (*names, *(("to_half",) if half else ()))
            lowered, notes["passes"] = lower(onnx.load(str(source)), passes, read(model.root / MAGNITUDES_FILE))
            content = lowered.SerializeToString()
        if inside is not None:
            import onnx

            from stages.lowering.inside import put_inside

            normalisation = Sidecar.read(model.path(FILE_NAME))
            ended = put_inside(onnx.ModelProto.FromString(content), inside, model, normalisation, plugin=True)
            content = ended.SerializeToString()
            _load_plugins(trt, inside)
        cache = None
        if chosen.timing_cache is not None:
            key = digest_of(dict(self.fingerprint()))[:16]  # timings hold for this GPU, driver and version only
            cache = Path(chosen.timing_cache) / f"{self.name}-{key}.cache"
        engine, notes["audit"] = building.build(trt, content, variant, chosen, cache)
        (out / ENGINE_FILE).write_bytes(engine)
        if nvidia_driver() is not None:
            self._inspect(trt, engine, notes)
        return Built(main=ENGINE_FILE, notes=notes)

    def _inspect(self, trt: Any, engine: bytes, notes: dict[str, Any]) -> None:
        """Note what the engine itself says, in place of the audit of its network as far as it tells enough."""
        from stages.backends.tensorrt.building import Messages
        from stages.backends.tensorrt.inspector import inspect

        messages = Messages(trt)
        loaded = trt.Runtime(messages.logger).deserialize_cuda_engine(engine)
        if loaded is None:
            said = f"{self.module} cannot load the engine on this GPU: {messages.first()}"
            notes.setdefault("warnings", []).append(f"{said}; the audit is that of its network")
            return
        found = inspect(trt, loaded)
        notes["audit"] = {**found.pop("audit", notes["audit"]), "inspected": found}

    @contextmanager
    def open(self, engine: Engine) -> Iterator[Session]:
        options = parse_options(self.name, TensorRtOptions, engine.options)
        from stages.backends.tensorrt.cuda import CudaRuntime
        from stages.backends.tensorrt.session import TensorRtSession

        pinned, graph = opening(engine.variant, options)
        with self._loaded(engine) as (trt, loaded, types):
            session = TensorRtSession(trt, loaded, CudaRuntime(), engine.outputs, pinned, graph, types)
            try:
                yield session
            finally:
                session.close()

    @contextmanager
    def open_profiled(self, engine: Engine) -> Iterator[ProfiledSession]:
        from stages.backends.tensorrt.cuda import CudaRuntime
        from stages.backends.tensorrt.profiling import ProfilingSession

        with self._loaded(engine) as (trt, loaded, types):
            session = ProfilingSession(trt, loaded, CudaRuntime(), engine.outputs, types)
            try:
                yield session
            finally:
                session.close()

    @contextmanager
    def _loaded(self, engine: Engine) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
        """The module, the engine on this GPU, and the types of what goes in and out that is not float32.

        TensorRT's logger and runtime live as long as the ``with``: nothing says that an engine holds them.
        """
        if nvidia_driver() is None:
            raise UnavailableError(f"{self.name} engines are built here but cannot run: {NO_GPU}")
        trt = self._import()
        from stages.backends.tensorrt.building import Messages

        messages = Messages(trt)
        _load_plugins(trt, engine.inside)
        runtime = trt.Runtime(messages.logger)
        loaded = runtime.deserialize_cuda_engine(engine.path(engine.main).read_bytes())
        if loaded is None:
            raise StageError(f"{self.module} cannot load {engine.main}: {messages.first()}; build it again here")
        types: dict[str, Any] = {name: np.int32 for name in engine.outputs if name in ("num_dets", "labels")}
        types |= {engine.image_input: np.uint8} if engine.takes_pixels else {}
        yield trt, loaded, types

    def _version(self) -> str | None:
        return next((v for v in map(version_of, self.distributions) if v is not None), None)

    def _import(self) -> Any:
        try:
            return importlib.import_module(self.module)
        except (ImportError, OSError) as error:
            raise UnavailableError(f"{self.module} cannot be imported ({error}); {self.install}") from error


class TensorRtRtx(TensorRt):
    """The module ``tensorrt_rtx``: its engines are compiled for the GPU when they are loaded, so any machine builds."""

    name: ClassVar[str] = "tensorrt_rtx"
    module: ClassVar[str] = "tensorrt_rtx"
    distributions: ClassVar[tuple[str, ...]] = ("tensorrt-rtx-cu12", "tensorrt-rtx-cu13", "tensorrt-rtx")
    install: ClassVar[str] = 'pip install "detpress[tensorrt-rtx]"'
    builds_without_gpu: ClassVar[bool] = True
    no_nms_inside: ClassVar[str | None] = "TensorRT for RTX has no plug-in EfficientNMS_TRT"


def _load_plugins(trt: Any, inside: Inside | None) -> None:
    """Make TensorRT's own plug-ins known, which NMS is among."""
    if inside is not None and inside.nms is not None and not trt.init_libnvinfer_plugins(None, ""):
        raise StageError("TensorRT cannot load its plug-ins, which NMS is among; set export.nms=outside")


def opening(variant: Variant, options: TensorRtOptions) -> tuple[bool, bool]:
    """Whether an engine is opened with page-locked buffers, and whether as a CUDA graph, which needs them."""
    graph = variant.cuda_graph or options.cuda_graph
    pinned = variant.pinned if options.pinned is None else options.pinned
    return pinned or graph, graph


def _own(name: str, options: BackendOptions) -> TensorRtOptions:
    problems = []
    if isinstance(options, TensorRtOptions) and options.cuda_graph and options.pinned is False:
        problems.append(f"backend.{name}.cuda_graph: it needs page-locked buffers; set backend.{name}.pinned=true")
    return own_options(name, TensorRtOptions, options, problems)
