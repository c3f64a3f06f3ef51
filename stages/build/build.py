"""Build: an exported model becomes the engine of one backend, in one variant."""

from __future__ import annotations

import dataclasses
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from stages import backends
from stages.artifacts import Engine, ExportedModel, Precision, hash_files
from stages.backends.base import Backend, BuildsInside, Built, Unavailable, parse_options
from stages.backends.variants import built_variant, require_variant
from stages.build.reasons import explain
from stages.contract import StageContext
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import StageError, UnavailableError
from stages.options.backend import BackendOptions, BuildOptions
from stages.options.export import GRAPH, NMS_OUTPUTS, OUTSIDE, Inside

SHOWN = 5  # layers left in float that are told; the report has them all


@dataclass(frozen=True)
class BuildInputs:
    """The exported model; its precision is that of the engine's weights."""

    model: ExportedModel


class Build:
    """The stage: lower the model for the backend, build, and audit what was built."""

    name: ClassVar[str] = "build"
    version: ClassVar[int] = 8  # 8: fine_outputs
    packages: ClassVar[tuple[str, ...]] = ("onnx",)
    later: ClassVar[tuple[str, ...]] = ("inside",)
    Options: ClassVar[type] = BuildOptions
    Inputs: ClassVar[type] = BuildInputs
    Output: ClassVar[type[Engine]] = Engine

    def __init__(self, options: BuildOptions) -> None:
        self.options = options

    def run(self, inputs: BuildInputs, context: StageContext) -> Engine:
        """Raises UnavailableError if the backend cannot run here, StageError if the model cannot be built."""
        model = inputs.model
        backend = backends.get(self.options.backend)
        options = parse_options(backend.name, backend.Options, self.options.options)
        available = backend.availability(options)
        if isinstance(available, Unavailable):
            raise UnavailableError(f"backend {backend.name} is unavailable: {available}")
        variant = built_variant(model.precision, options)
        if variant.weights != model.precision:
            raise StageError(f"{variant} cannot be built from the {model.precision} model; report this")
        require_variant(backend, variant, options)
        context.progress(0, 1)
        start = time.perf_counter()
        built = _built(backend, model, options, context.out, self.options.inside)
        seconds = time.perf_counter() - start
        _write_sidecar(model.path(FILE_NAME), context.out / FILE_NAME, self.options.inside)
        if not (context.out / built.main).is_file():
            raise StageError(f"backend {backend.name} wrote no {built.main!r}; this is the backend's bug: report it")
        notes = dict(built.notes)
        if model.precision is Precision.INT8 and "audit" in notes:
            notes["audit"] = explain(notes["audit"], model.path("model.onnx"))
        if self.options.inside is not None and self.options.inside.nms is not None and "audit" in notes:
            notes["audit"] = {**notes["audit"], "nms_in": GRAPH}
        engine = engine_of(
            model,
            context.out,
            backend.name,
            str(variant),
            built.main,
            options,
            notes,
            build_seconds=seconds,
            inside=self.options.inside,
        )
        _tell(engine, context)
        context.progress(1, 1)
        return engine


def _built(backend: Backend, model: ExportedModel, options: BackendOptions, out: Path, inside: Inside | None) -> Built:
    """Raises UnavailableError where the backend cannot build what ``inside`` asks for."""
    if inside is None:
        return backend.build(model, model.precision, options, out)
    wanted = {"nms": Inside(inside.nms), "preprocess": Inside(None, inside.preprocess)}
    asked = {name: part for name, part in wanted.items() if part != Inside()}
    reasons: dict[str, str | None] = dict.fromkeys(asked, "it runs the exported model as it is")
    if isinstance(backend, BuildsInside):
        reasons = {name: backend.why_not_inside(part, options) for name, part in asked.items()}
        if not any(reasons.values()):
            return backend.build(model, model.precision, options, out, inside)
    said = "; ".join(
        f"export.{name}={GRAPH}: {reason}; set export.{name}={OUTSIDE}" for name, reason in reasons.items() if reason
    )
    raise UnavailableError(f"backend {backend.name} does not do {said}")


def _write_sidecar(source: Path, target: Path, inside: Inside | None) -> None:
    """``infer_cfg.yml`` beside the engine, which says what the engine does itself."""
    if inside is None:
        shutil.copyfile(source, target)
        return
    sidecar = Sidecar.read(source)
    said = {
        **({"nms": GRAPH, "outputs": list(NMS_OUTPUTS), "thresholds": dict(vars(inside.nms))} if inside.nms else {}),
        **({"preprocess": GRAPH} if inside.preprocess else {}),
    }
    dataclasses.replace(sidecar, extra={**sidecar.extra, **said}).write(target)


def engine_of(
    model: ExportedModel,
    folder: Path,
    backend: str,
    precision: str,
    main: str,
    options: BackendOptions,
    notes: dict[str, Any],
    *,
    build_seconds: float = 0.0,
    inside: Inside | None = None,
) -> Engine:
    """The engine whose files lie in ``folder``, with the inputs and outputs of the ``model`` it was made of.

    ``precision`` is the name of its variant, so the ``options`` are kept without.
    """
    kept = {name: value for name, value in dataclasses.asdict(options).items() if name != "variants"}
    return Engine(
        root=folder,
        files=hash_files(folder),
        backend=backend,
        precision=precision,
        main=main,
        input_size=list(model.input_size),
        batch=model.batch,
        scale_factor=model.scale_factor,
        image_input=model.image_input,
        scale_input=model.scale_input,
        boxes_output=model.boxes_output,
        scores_output=model.scores_output,
        options=kept,
        notes=notes,
        build_seconds=build_seconds,
        inside=inside,
    )


def _tell(engine: Engine, context: StageContext) -> None:
    prefix = f"build.{engine.backend}.{engine.precision}"
    context.metric(f"{prefix}.seconds", engine.build_seconds)
    context.metric(f"{prefix}.size_mb", engine.size_bytes / 1e6)
    audit = engine.notes.get("audit")
    if audit is not None:
        context.metric(f"{prefix}.int8_share", audit["int8_share"])
        for layer in audit["float_layers"][:SHOWN]:
            if "reason" in layer:
                context.detail(f"{layer['name']} stays in {layer['format']} ({layer['share']:.2%}): {layer['reason']}")
    for warning in engine.notes.get("warnings", ()):
        context.warn(warning)
    tuning = engine.notes.get("tuning")
    if tuning is not None:
        context.detail(
            f"kernels chosen by timing: {len(tuning['shifted'])} of {tuning['convolutions']} convolutions as matrix "
            f"products, {tuning['before_ms']:.1f} -> {tuning['after_ms']:.1f} ms"
        )
    if (layout := engine.notes.get("cuda", {}).get("layout_ms")) is not None:
        told = ", ".join(f"{name} {ms:.2f} ms" for name, ms in layout.items())
        context.info(f"layout of images chosen by timing: {told}")
    if (refused := engine.notes.get("cuda", {}).get("nhwc_refused")) is not None:
        context.info(f"images stay in NCHW: ONNX Runtime cannot run this engine in NHWC ({refused})")
    passes = engine.notes.get("passes", ())
    if passes:
        done = [f"{r['name']} {sum(r['counts'].values())}" for r in passes if any(r["counts"].values())]
        context.detail(f"lowering: {', '.join(done) or 'nothing to do'}")
    for report in passes:
        for remark in report["remarks"]:
            context.detail(f"{report['name']}: {remark}")
