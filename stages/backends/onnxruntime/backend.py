"""ONNX Runtime. FP32 runs the exported graph, INT8 the lowered one; both are optimized when a session is opened."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from stages.artifacts import Engine, ExportedModel, Precision
from stages.backends.audit import audit_onnx
from stages.backends.base import (
    Array,
    Available,
    Built,
    Feeds,
    Session,
    Unavailable,
    cpu_name,
    own_options,
    parse_options,
    version_of,
)
from stages.backends.onnxruntime.options import PROVIDERS, OnnxRuntimeOptions
from stages.backends.onnxruntime.recipe import RECIPE
from stages.backends.tensorrt import recipe as tensorrt
from stages.backends.variants import PLAIN, float_format
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import StageError, UnavailableError
from stages.numerics.variants import FloatFormat, Variant
from stages.options.backend import BackendOptions
from stages.options.export import Inside

RECIPES = {"cpu": RECIPE, "cuda": RECIPE, "tensorrt": tensorrt.RECIPE}
ENGINE_FILE = "model.onnx"
OPTIMIZED = "optimized.onnx"
DEFAULTS = {"cuda": ("fp32", "fp16", "int8"), "tensorrt": ("fp32", "fp16", "int8", "int8_fp16")}
"""Provider -> its variants, where there are more than two."""
SATURATION = (
    "this CPU has AVX2 but no VNNI: ONNX Runtime adds INT8 products in 16 bits there, which can overflow and cost "
    "accuracy; measure mAP on this machine, or deploy on a CPU with VNNI"
)


class OnnxRuntime:
    """ONNX Runtime on the CPU (the provider is an option; a missing one is an error, never a silent fall-back)."""

    name: ClassVar[str] = "onnxruntime"
    Options: ClassVar[type[BackendOptions]] = OnnxRuntimeOptions

    def availability(self, options: BackendOptions | None = None) -> Available | Unavailable:
        version = version_of("onnxruntime-gpu") or version_of("onnxruntime")
        if version is None:
            return Unavailable("the package onnxruntime is not installed", "pip install onnxruntime")
        chosen = own_options(self.name, OnnxRuntimeOptions, options or OnnxRuntimeOptions())
        if chosen.provider != "cpu":
            import onnxruntime as ort

            if PROVIDERS[chosen.provider] not in ort.get_available_providers():
                have = ", ".join(sorted(k for k, v in PROVIDERS.items() if v in ort.get_available_providers()))
                return Unavailable(
                    f"this onnxruntime {version} has no provider {chosen.provider!r} (it has {have})",
                    "pip install onnxruntime-gpu",
                )
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
        if wanted.floats is FloatFormat.FP32 or str(wanted) in DEFAULTS.get(provider, ()):
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
        chosen = own_options(self.name, OnnxRuntimeOptions, options)
        source, engine = model.path("model.onnx"), out / ENGINE_FILE
        notes: dict[str, Any] = {}
        if precision is Precision.INT8:
            import onnx

            from stages.lowering.passes import lower

            names = RECIPES[chosen.provider] if chosen.lowering is None else tuple(chosen.lowering)
            lowered, notes["passes"] = lower(onnx.load(str(source)), names)
            if chosen.tune and chosen.provider == "cpu":
                lowered, notes["tuning"] = _tuned(lowered, chosen)
            onnx.save(lowered, str(engine))
            if chosen.provider == "cpu" and saturates(cpu_name()):
                notes["warnings"] = [SATURATION]
        elif chosen.provider == "cuda" and float_format(precision, chosen) is FloatFormat.FP16:
            import onnx

            from stages.lowering.passes import lower

            half, notes["passes"] = lower(onnx.load(str(source)), ("to_half",))  # CUDA computes in the graph's types
            onnx.save(half, str(engine))
        else:
            shutil.copyfile(source, engine)
        if inside is not None:  # after the tuning, which names and runs the convolutions alone
            import onnx

            from stages.lowering.inside import put_inside

            normalisation = Sidecar.read(model.path(FILE_NAME))
            onnx.save(put_inside(onnx.load(str(engine)), inside, model, normalisation), str(engine))
        if chosen.provider == "tensorrt":
            # ONNX Runtime cannot write a graph that holds TensorRT's compiled parts, nor does its profile show them.
            notes.setdefault("warnings", []).append("no audit: ONNX Runtime does not tell what TensorRT runs in INT8")
        else:
            notes["audit"] = _audit(engine, chosen)
        if chosen.provider == "tensorrt" and float_format(precision, chosen) is FloatFormat.FP16:
            notes.setdefault("warnings", []).append("TensorRT may compute in FP16; ONNX Runtime does not tell where")
        return Built(main=ENGINE_FILE, notes=notes)

    @contextmanager
    def open(self, engine: Engine) -> Iterator[Session]:
        options = parse_options(self.name, OnnxRuntimeOptions, engine.options)
        session = _create(engine.path(engine.main), options, floats=engine.variant.floats)
        yield _Session(session, engine.outputs)


def _own(options: BackendOptions) -> OnnxRuntimeOptions:
    return own_options(OnnxRuntime.name, OnnxRuntimeOptions, options)


class _Session:
    def __init__(self, session: Any, outputs: list[str]) -> None:
        have = [o.name for o in session.get_outputs()]
        if missing := [name for name in outputs if name not in have]:
            raise StageError(f"the engine has no output {missing[0]!r} (it has {', '.join(have)}); build it again")
        self._session, self._outputs = session, outputs

    def infer(self, feeds: Feeds) -> list[Array]:
        found: list[Array] = self._session.run(self._outputs, feeds)
        return found


def _tuned(model: Any, options: OnnxRuntimeOptions) -> tuple[Any, dict[str, Any]]:
    from stages.backends.onnxruntime.tuning import tune

    with tempfile.TemporaryDirectory() as scratch:
        return tune(model, lambda file, folder: _create(file, options, folder), Path(scratch))


def _audit(engine: Path, options: OnnxRuntimeOptions) -> dict[str, Any]:
    """Run the engine once, on ones, under ONNX Runtime's profiler, and read what it ran."""
    import numpy as np

    with tempfile.TemporaryDirectory() as scratch:
        session = _create(engine, options, Path(scratch))
        for value in session.get_inputs():
            if not all(isinstance(d, int) for d in value.shape):
                raise StageError(f"input {value.name!r} has no fixed shape ({value.shape}); export the model with one")
        kinds = {"tensor(uint8)": np.uint8}
        session.run(None, {v.name: np.ones(v.shape, kinds.get(v.type, np.float32)) for v in session.get_inputs()})
        return audit_onnx(Path(scratch) / OPTIMIZED, Path(session.end_profiling()))


def chain(engine: Path, provider: str, floats: FloatFormat = FloatFormat.FP32) -> list[Any]:
    """ONNX Runtime's providers in order: what TensorRT leaves goes to CUDA, what CUDA leaves to the CPU.

    TensorRT takes Q/DQ only with INT8 allowed, and FP16 for what else there is only if it is told so.
    """
    names = list(PROVIDERS)[list(PROVIDERS).index(provider) :: -1]
    found: list[Any] = [PROVIDERS[name] for name in names]
    if provider == "tensorrt":
        allowed = {"trt_int8_enable": b"QuantizeLinear" in engine.read_bytes()}
        if floats is FloatFormat.FP16:
            allowed["trt_fp16_enable"] = True
        found[0] = (found[0], allowed)
    return found


def saturates(cpu: str) -> bool:
    """True for an x86 CPU (as `cpu_name` describes it) without an instruction that sums uint8 x int8 in 32 bits."""
    return "avx2" in cpu and "vnni" not in cpu


def _create(
    engine: Path,
    options: OnnxRuntimeOptions,
    inspect: Path | None = None,
    floats: FloatFormat = FloatFormat.FP32,
) -> Any:
    """A session with everything set that timing hangs on; with ``inspect`` it writes its graph and profile there."""
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.log_severity_level = 3
    # Worker threads may spin while a run lasts, not between runs, where they would take the CPU from pre- and
    # postprocessing and from the engine that is timed in turn with this one.
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    if inspect is not None:
        settings.optimized_model_filepath = str(inspect / OPTIMIZED)
        settings.enable_profiling = True
        settings.profile_file_prefix = str(inspect / "profile")
    wanted = PROVIDERS[options.provider]
    if wanted not in ort.get_available_providers():
        raise UnavailableError(str(OnnxRuntime().availability(options)))
    try:
        session = ort.InferenceSession(str(engine), settings, providers=chain(engine, options.provider, floats))
    except Exception as error:  # ORT's exceptions share no base class but Exception
        text = str(error).strip().splitlines()[0]
        raise StageError(f"ONNX Runtime cannot load {engine.name}: {text}; export the model again") from error
    if session.get_providers()[0] != wanted:
        raise UnavailableError(
            f"ONNX Runtime fell back from {options.provider} to {session.get_providers()[0]}: its libraries do not "
            f"load here; set backend.onnxruntime.provider=cpu, or install the libraries that onnxruntime-gpu needs"
        )
    return session
