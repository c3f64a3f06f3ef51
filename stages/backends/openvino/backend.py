"""OpenVINO on the CPU. Each variant says what its floats are: by default OpenVINO takes bf16 where the CPU has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from stages.artifacts import Engine, ExportedModel, Precision
from stages.backends.base import (
    Available,
    Built,
    Session,
    Unavailable,
    cpu_has,
    cpu_name,
    own_options,
    parse_options,
    version_of,
)
from stages.backends.openvino.executed import audit_openvino
from stages.backends.openvino.options import OpenVinoOptions
from stages.backends.openvino.profiling import ProfilingSession
from stages.backends.openvino.recipe import BF16, recipe_for
from stages.backends.openvino.session import OpenVinoSession
from stages.backends.profiled import ProfiledSession
from stages.backends.variants import PLAIN, float_format, no_openings
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import StageError, UnavailableError
from stages.numerics.variants import FloatFormat, Variant
from stages.options.backend import BackendOptions
from stages.options.export import Inside

MAIN = "model.xml"
INSTRUCTIONS = {FloatFormat.BF16: ("avx512_bf16", "amx_bf16"), FloatFormat.FP16: ("avx512_fp16", "amx_fp16")}
"""What OpenVINO wants of an x86 CPU to compute in a format; a build asks OpenVINO itself."""
HINTS = {FloatFormat.BF16: "bf16", FloatFormat.FP16: "f16"}

LATENCY = {
    "NUM_STREAMS": 1,
    "PERFORMANCE_HINT": "LATENCY",
    # The harness pins the process; OpenVINO's own pinning would fight with it.
    "ENABLE_CPU_PINNING": False,
}
"""How an engine is opened that runs once at a time."""


class OpenVino:
    """OpenVINO's CPU plugin; an engine is an OpenVINO IR (``model.xml`` and ``model.bin``)."""

    name: ClassVar[str] = "openvino"
    Options: ClassVar[type[BackendOptions]] = OpenVinoOptions
    profiler: ClassVar[str] = "OpenVINO's performance counts"

    def availability(self, options: BackendOptions | None = None) -> Available | Unavailable:
        own_options(self.name, OpenVinoOptions, options or OpenVinoOptions())
        version = version_of("openvino")
        if version is None:
            return Unavailable("the package openvino is not installed", 'pip install "detpress[openvino]"')
        return Available(f"openvino {version}, CPU")

    def fingerprint(self) -> Mapping[str, str]:
        found = {name: version_of(name) for name in ("openvino", "onnx")}
        return {**{k: v for k, v in found.items() if v}, "cpu": cpu_name()}

    def default_variants(self, options: BackendOptions) -> Sequence[str]:
        """FP32, BF16 and INT8; with a hint for all of them only the two that differ in their weights."""
        return PLAIN if _hint(options) != "f32" else ("fp32", "bf16", "int8")

    def why_not(self, wanted: Variant, options: BackendOptions) -> str | None:
        if reason := no_openings("OpenVINO on a CPU", wanted):
            return reason
        if wanted.floats is FloatFormat.FP32:
            return None
        if _hint(options) != "f32":
            return f"backend.{self.name}.precision_hint={_hint(options)} says what every engine computes in"
        flags = INSTRUCTIONS[wanted.floats]
        return None if cpu_has(*flags) else f"this CPU has neither {' nor '.join(flags)}"

    def prepare(self) -> None:
        _import()

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
        chosen = own_options(self.name, OpenVinoOptions, options)
        ov = _import()
        source, notes, floats = model.path("model.onnx"), dict[str, Any](), float_format(precision, chosen)
        require_format(ov.Core(), floats)
        names: tuple[str, ...] = BF16 if floats is FloatFormat.BF16 else ()
        if precision is Precision.INT8:
            recipe = recipe_for(cpu_name()) if chosen.lowering is None else tuple(chosen.lowering)
            names = (*recipe, *names)
        if names or inside is not None:
            import onnx

            from stages.lowering.inside import put_inside
            from stages.lowering.passes import lower

            lowered = onnx.load(str(source))
            if names:
                lowered, notes["passes"] = lower(lowered, names)
            lowered = put_inside(lowered, inside, model, Sidecar.read(model.path(FILE_NAME)))
            graph = _convert(ov, lowered.SerializeToString())
        else:
            graph = _convert(ov, source)
        ov.save_model(graph, str(out / MAIN), compress_to_fp16=False)
        notes["audit"] = audit_openvino(_compile(ov, out / MAIN, chosen, floats))
        return Built(main=MAIN, notes=notes)

    def is_repeatable(self, engine: Engine) -> bool:
        return True

    @contextmanager
    def open(self, engine: Engine) -> Iterator[Session]:
        yield OpenVinoSession(self._compiled(engine, LATENCY), engine.outputs)

    def why_no_streams(self, engine: Engine) -> str | None:
        return None

    @contextmanager
    def open_streams(self, engine: Engine, streams: int, threads: int) -> Iterator[Sequence[Session]]:
        """One compiled model with as many streams; a request for each."""
        settings = {
            "INFERENCE_NUM_THREADS": streams * threads,
            "NUM_STREAMS": streams,
            "PERFORMANCE_HINT": "THROUGHPUT",
        }
        compiled = self._compiled(engine, settings)
        yield [OpenVinoSession(compiled, engine.outputs) for _ in range(streams)]

    def _compiled(self, engine: Engine, settings: Mapping[str, Any]) -> Any:
        options = parse_options(self.name, OpenVinoOptions, engine.options)
        ov = _import()
        require_format(ov.Core(), engine.variant.floats)
        return _compile(ov, engine.path(engine.main), options, engine.variant.floats, settings)

    @contextmanager
    def open_profiled(self, engine: Engine) -> Iterator[ProfiledSession]:
        settings = {**LATENCY, "PERF_COUNT": True}
        yield ProfilingSession(lambda: self._compiled(engine, settings), engine.outputs)


def _import() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise UnavailableError(f'OpenVINO cannot be imported ({error}); pip install "detpress[openvino]"') from error
    return openvino


def _hint(options: BackendOptions) -> str:
    return own_options(OpenVino.name, OpenVinoOptions, options).precision_hint


def require_format(core: Any, floats: FloatFormat) -> None:
    """Raises UnavailableError where OpenVINO does not compute in a float format: it would take FP32, and not say so."""
    has = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if floats is not FloatFormat.FP32 and floats.value.upper() not in has:
        raise UnavailableError(f"OpenVINO has no {floats.value} on this CPU (it has {', '.join(sorted(has))})")


def _convert(ov: Any, source: Path | bytes) -> Any:
    core = ov.Core()
    try:
        return core.read_model(source) if isinstance(source, Path) else core.read_model(model=source, weights=b"")
    except RuntimeError as error:
        raise StageError(f"OpenVINO cannot read the model: {_first_line(error)}; export it again") from error


def _compile(
    ov: Any,
    path: Path,
    options: OpenVinoOptions,
    floats: FloatFormat = FloatFormat.FP32,
    settings: Mapping[str, Any] = LATENCY,
) -> Any:
    core = ov.Core()
    whole = {
        "INFERENCE_PRECISION_HINT": HINTS.get(floats, options.precision_hint),
        "INFERENCE_NUM_THREADS": options.threads,
        **settings,
    }
    try:
        return core.compile_model(core.read_model(path), "CPU", whole)
    except RuntimeError as error:
        raise StageError(f"OpenVINO cannot compile {path.name}: {_first_line(error)}; build it again") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
