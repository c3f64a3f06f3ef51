"""Sessions of ONNX Runtime: what is set when an engine is opened, on which device, and how it is run."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from stages.backends.base import Array, Feeds, Session
from stages.backends.onnxruntime.cuda import TYPES, GraphSession
from stages.backends.onnxruntime.options import PROVIDERS, OnnxRuntimeOptions
from stages.errors import StageError, UnavailableError
from stages.numerics.variants import FloatFormat

OPTIMIZED = "optimized.onnx"


class PlainSession:
    def __init__(self, session: Any, outputs: list[str]) -> None:
        self._session, self._outputs = session, outputs

    def infer(self, feeds: Feeds) -> list[Array]:
        found: list[Array] = self._session.run(self._outputs, feeds)
        return found


def opened(session: Any, outputs: list[str], *, graph: bool) -> Session:
    """A session of ONNX Runtime for `infer` with these ``outputs``."""
    have = [o.name for o in session.get_outputs()]
    if missing := [name for name in outputs if name not in have]:
        raise StageError(f"the engine has no output {missing[0]!r} (it has {', '.join(have)}); build it again")
    return GraphSession(session, outputs) if graph else PlainSession(session, outputs)


def ones(session: Any) -> dict[str, Array]:
    """Feeds for a trial run."""
    for value in session.get_inputs():
        if not all(isinstance(d, int) for d in value.shape):
            raise StageError(f"input {value.name!r} has no fixed shape ({value.shape}); export the model with one")
    return {v.name: np.ones(v.shape, TYPES[v.type]) for v in session.get_inputs()}


def chain(
    engine: Path,
    provider: str,
    floats: FloatFormat = FloatFormat.FP32,
    *,
    tf32: bool = False,
    graph: bool = False,
    nhwc: bool = False,
) -> list[Any]:
    """ONNX Runtime's providers in order: what TensorRT leaves goes to CUDA, what CUDA leaves to the CPU.

    TensorRT takes Q/DQ only with INT8 allowed, and FP16 for what else there is only if it is told so. CUDA's FP32 is
    TF32 on GPUs that have it unless it is told otherwise. ``graph``, ``nhwc``: see `OnnxRuntimeOptions.cuda_graph` and
    ``tune``.
    """
    names = list(PROVIDERS)[list(PROVIDERS).index(provider) :: -1]
    cuda = {"use_tf32": str(int(tf32))}
    cuda |= {name: "1" for name, on in (("enable_cuda_graph", graph), ("prefer_nhwc", nhwc)) if on}
    found: list[Any] = [(PROVIDERS[name], cuda) if name == "cuda" else PROVIDERS[name] for name in names]
    if provider == "tensorrt":
        allowed = {"trt_int8_enable": b"QuantizeLinear" in engine.read_bytes()}
        if floats is FloatFormat.FP16:
            allowed["trt_fp16_enable"] = True
        found[0] = (found[0], allowed)
    return found


def _load_libraries() -> None:
    """CUDA's libraries out of NVIDIA's Python packages, where the loader does not search; ONNX Runtime knows which.

    It prints what it does not find there. That may be installed elsewhere: what is missing in the end, it says when a
    session is made.
    """
    import onnxruntime as ort

    if hasattr(ort, "preload_dlls"):  # from 1.21 on
        with contextlib.redirect_stdout(None):
            ort.preload_dlls(directory="")


def create(
    engine: Path,
    options: OnnxRuntimeOptions,
    inspect: Path | None = None,
    floats: FloatFormat = FloatFormat.FP32,
    *,
    graph: bool = False,
    nhwc: bool = False,
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
        if options.provider != "tensorrt":  # whose compiled parts cannot be written
            settings.optimized_model_filepath = str(inspect / OPTIMIZED)
        settings.enable_profiling = True
        settings.profile_file_prefix = str(inspect / "profile")
    wanted = PROVIDERS[options.provider]
    if why := missing(options.provider):
        raise UnavailableError(f"{why}; install it with: pip install onnxruntime-gpu")
    if options.provider != "cpu":
        _load_libraries()
    providers = chain(engine, options.provider, floats, tf32=options.tf32, graph=graph, nhwc=nhwc)
    try:
        # Of the CPU there is nothing to fall back to, and ONNX Runtime would say on standard output that it does.
        session = ort.InferenceSession(
            str(engine), settings, providers=providers, enable_fallback=options.provider != "cpu"
        )
        session.disable_fallback()  # while it runs: another provider would be timed and scored in the place of this one
    except Exception as error:  # ORT's exceptions share no base class but Exception
        text = str(error).strip().splitlines()[0]
        raise StageError(f"ONNX Runtime cannot load {engine.name}: {text}; export the model again") from error
    if session.get_providers()[0] != wanted:
        raise UnavailableError(
            f"ONNX Runtime fell back from {options.provider} to {session.get_providers()[0]}: its libraries do not "
            f"load here; set backend.onnxruntime.provider=cpu, or install the libraries that onnxruntime-gpu needs"
        )
    return session


def missing(provider: str) -> str | None:
    """Why a provider cannot be used: the installed package lacks it; ``None`` if it has it."""
    import onnxruntime as ort

    if PROVIDERS[provider] in ort.get_available_providers():
        return None
    have = ", ".join(sorted(k for k, v in PROVIDERS.items() if v in ort.get_available_providers()))
    return f"this onnxruntime {ort.__version__} has no provider {provider!r} (it has {have})"
