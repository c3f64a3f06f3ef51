"""ONNX Runtime. FP32 runs the exported graph, INT8 the lowered one; both are optimized when a session is opened."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from stages.artifacts import MAGNITUDES_FILE, Engine, ExportedModel, Precision
from stages.backends.audit import audit_onnx, devices, told
from stages.backends.base import (
    Available,
    Built,
    Session,
    Unavailable,
    cpu_name,
    own_options,
    parse_options,
    version_of,
)
from stages.backends.onnxruntime.cuda import faster_layout
from stages.backends.onnxruntime.options import PROVIDERS, OnnxRuntimeOptions
from stages.backends.onnxruntime.profiling import ON_A_GPU, ProfilingSession
from stages.backends.onnxruntime.recipe import CUDA, RECIPE
from stages.backends.onnxruntime.session import OPTIMIZED, create, missing, ones, opened
from stages.backends.profiled import ProfiledSession
from stages.backends.tensorrt import recipe as tensorrt
from stages.backends.variants import PLAIN, float_format
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import UnavailableError
from stages.numerics.variants import FloatFormat, Variant
from stages.options.backend import BackendOptions
from stages.options.export import Inside

RECIPES = {"cpu": RECIPE, "cuda": CUDA, "tensorrt": tensorrt.RECIPE}
ENGINE_FILE = "model.onnx"
DEFAULTS = {"cuda": ("fp32", "fp16", "int8"), "tensorrt": ("fp32", "fp16", "int8", "int8_fp16")}
"""Provider -> its variants, where there are more than two."""
ALSO = {"cuda": ("int8_fp16",)}
"""Provider -> what else it can be asked for. CUDA has no kernels of ONNX Runtime's for INT8 convolutions, so quantizers
are extra work there: on an H100 INT8 took 1.2 to 1.8 times as long as FP32 (docs/gpu.md)."""
SATURATION = (
    "this CPU has AVX2 but no VNNI: ONNX Runtime adds INT8 products in 16 bits there, which can overflow and cost "
    "accuracy; measure mAP on this machine, or deploy on a CPU with VNNI"
)


class OnnxRuntime:
    """ONNX Runtime on the CPU (the provider is an option; a missing one is an error, never a silent fall-back)."""

    name: ClassVar[str] = "onnxruntime"
    Options: ClassVar[type[BackendOptions]] = OnnxRuntimeOptions
    profiler: ClassVar[str] = "ONNX Runtime's profiler"

    def availability(self, options: BackendOptions | None = None) -> Available | Unavailable:
        version = version_of("onnxruntime-gpu") or version_of("onnxruntime")
        if version is None:
            return Unavailable("the package onnxruntime is not installed", "pip install onnxruntime")
        chosen = own_options(self.name, OnnxRuntimeOptions, options or OnnxRuntimeOptions())
        if chosen.provider != "cpu" and (why := missing(chosen.provider)):
            return Unavailable(why, "pip install onnxruntime-gpu")
        return Available(f"onnxruntime {version}, {chosen.provider}")

    def fingerprint(self) -> Mapping[str, str]:
        found = {name: version_of(name) for name in ("onnxruntime", "onnxruntime-gpu", "onnx")}
        return {**{k: v for k, v in found.items() if v}, "cpu": cpu_name()}

    def default_variants(self, options: BackendOptions) -> Sequence[str]:
        return DEFAULTS.get(_own(options).provider, PLAIN)

    def why_not(self, wanted: Variant, options: BackendOptions) -> str | None:
        provider = _own(options).provider
        if wanted.pinned:
            return "ONNX Runtime is run with its own buffers; page-locked ones are an option of the backend tensorrt"
        if wanted.floats is FloatFormat.FP32 or str(wanted) in (*DEFAULTS.get(provider, ()), *ALSO.get(provider, ())):
            return None
        if provider == "cpu":
            return f"ONNX Runtime has no kernels for {wanted.floats} on this CPU: it computes in FP32 and INT8"
        return f"detpress writes no such graph for ONNX Runtime's {provider} provider"

    def prepare(self) -> None:
        import onnxruntime  # noqa: F401

    def why_not_inside(self, inside: Inside, options: BackendOptions) -> str | None:
        return None

    def build(
        self,
        model: ExportedModel,
        precision: Precision,
        options: BackendOptions,
        out: Path,
        inside: Inside | None = None,
    ) -> Built:
        chosen, engine = own_options(self.name, OnnxRuntimeOptions, options), out / ENGINE_FILE
        notes = _written(model, engine, precision, chosen)
        floats = float_format(precision, chosen)
        if inside is not None:  # after the tuning, which names and runs the convolutions alone
            import onnx

            from stages.lowering.inside import put_inside

            normalisation = Sidecar.read(model.path(FILE_NAME))
            onnx.save(put_inside(onnx.load(str(engine)), inside, model, normalisation), str(engine))
        if chosen.provider == "tensorrt":
            # ONNX Runtime cannot write a graph that holds TensorRT's compiled parts, nor does its profile show them.
            said = ["no audit: ONNX Runtime does not tell what TensorRT runs in INT8"]
            if floats is FloatFormat.FP16:
                said.append("TensorRT may compute in FP16; ONNX Runtime does not tell where")
            notes.setdefault("warnings", []).extend(said)
            asked = PROVIDERS["tensorrt"]
            notes["devices"] = inspected(engine, chosen, floats, lambda _, profile: devices(profile, asked))
        else:
            placed = None if chosen.provider == "cpu" else PROVIDERS[chosen.provider]
            read = functools.partial(audit_onnx, provider=placed)
            notes["audit"] = inspected(engine, chosen, floats, read)
        found = notes.get("devices") or notes["audit"].get("devices")
        if found and (sentence := told(found, PROVIDERS[chosen.provider])):
            notes.setdefault("warnings", []).append(sentence)
        ends_plainly = inside is None or inside.nms is None  # how many boxes NMS keeps, a CUDA graph cannot know
        if chosen.provider == "cuda":
            notes["cuda"] = _launching(engine, chosen, floats, whole=not found["elsewhere"] and ends_plainly)
        return Built(main=ENGINE_FILE, notes=notes)

    def is_repeatable(self, engine: Engine) -> bool:
        return parse_options(self.name, OnnxRuntimeOptions, engine.options).provider == "cpu"

    def why_no_streams(self, engine: Engine) -> str | None:
        provider = parse_options(self.name, OnnxRuntimeOptions, engine.options).provider
        return None if provider == "cpu" else f"it is measured on CPUs, and provider={provider} runs on a GPU"

    @contextmanager
    def open_streams(self, engine: Engine, streams: int, threads: int) -> Iterator[Sequence[Session]]:
        """One session for all streams of one thread, which computes in whoever calls it; else one for each: the threads
        of a session are shared by the runs in it."""
        options = replace(parse_options(self.name, OnnxRuntimeOptions, engine.options), threads=threads)
        file, floats = engine.path(engine.main), engine.variant.floats
        made = [create(file, options, None, floats) for _ in range(1 if threads == 1 else streams)]
        yield [opened(made[i % len(made)], engine.outputs, graph=False) for i in range(streams)]

    @contextmanager
    def open(self, engine: Engine) -> Iterator[Session]:
        options = parse_options(self.name, OnnxRuntimeOptions, engine.options)
        cuda = engine.notes.get("cuda") or {"graph": False, "nhwc": False}
        graph, nhwc = cuda["graph"], cuda["nhwc"]
        session = create(engine.path(engine.main), options, None, engine.variant.floats, graph=graph, nhwc=nhwc)
        yield opened(session, engine.outputs, graph=graph)

    @contextmanager
    def open_profiled(self, engine: Engine) -> Iterator[ProfiledSession]:
        options = parse_options(self.name, OnnxRuntimeOptions, engine.options)
        if options.provider != "cpu":
            raise UnavailableError(ON_A_GPU)
        with tempfile.TemporaryDirectory() as scratch:
            session = create(engine.path(engine.main), options, Path(scratch), engine.variant.floats)
            yield ProfilingSession(session, engine.outputs, Path(scratch))


def _written(model: ExportedModel, engine: Path, precision: Precision, options: OnnxRuntimeOptions) -> dict[str, Any]:
    """Write the graph that ONNX Runtime is to open; give what the report says about it."""
    provider = options.provider
    passes: tuple[str, ...] = ()
    half = provider == "cuda" and float_format(precision, options) is FloatFormat.FP16
    if precision is Precision.INT8:
        passes = RECIPES[provider] if options.lowering is None else tuple(options.lowering)
    if half:  # CUDA computes in the graph's types
        passes = (*passes, "to_half")
    notes: dict[str, Any] = {}
    if not passes and precision is not Precision.INT8:
        shutil.copyfile(model.path("model.onnx"), engine)
        return notes
    import onnx

    from stages.lowering.magnitudes import read
    from stages.lowering.passes import lower

    graph = onnx.load(str(model.path("model.onnx")))
    lowered, notes["passes"] = lower(graph, passes, read(model.root / MAGNITUDES_FILE))
    if precision is Precision.INT8 and provider == "cpu":
        if options.tune:
            lowered, notes["tuning"] = _tuned(lowered, options)
        if saturates(cpu_name()):
            notes["warnings"] = [SATURATION]
    onnx.save(lowered, str(engine))
    return notes


def _launching(engine: Path, options: OnnxRuntimeOptions, floats: FloatFormat, *, whole: bool) -> dict[str, Any]:
    """How the engine is opened on a GPU: ``graph`` (a CUDA graph, if the ``whole`` of it runs there) and ``nhwc``."""
    graph = options.cuda_graph and whole

    def runner(nhwc: bool) -> Callable[[], object]:
        session = create(engine, options, None, floats, graph=graph, nhwc=nhwc)
        run, feeds = opened(session, [o.name for o in session.get_outputs()], graph=graph), ones(session)
        return lambda: run.infer(feeds)

    return {"graph": graph, "nhwc": False, **(faster_layout(runner) if options.tune else {})}


def _own(options: BackendOptions) -> OnnxRuntimeOptions:
    return own_options(OnnxRuntime.name, OnnxRuntimeOptions, options)


def _tuned(model: Any, options: OnnxRuntimeOptions) -> tuple[Any, dict[str, Any]]:
    from stages.backends.onnxruntime.tuning import tune

    with tempfile.TemporaryDirectory() as scratch:
        return tune(model, lambda file, folder: create(file, options, folder), Path(scratch))


def inspected(
    engine: Path, options: OnnxRuntimeOptions, floats: FloatFormat, read: Callable[[Path, Path], dict[str, Any]]
) -> dict[str, Any]:
    """Run the engine once under ONNX Runtime's profiler; ``read`` the graph that it ran and its profile."""
    with tempfile.TemporaryDirectory() as scratch:
        session = create(engine, options, Path(scratch), floats)
        session.run(None, ones(session))
        return read(Path(scratch) / OPTIMIZED, Path(session.end_profiling()))


def saturates(cpu: str) -> bool:
    """True for an x86 CPU (as `cpu_name` describes it) without an instruction that sums uint8 x int8 in 32 bits."""
    return "avx2" in cpu and "vnni" not in cpu
