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
from stages.backends.base import Unavailable, parse_options
from stages.backends.variants import built_variant, require_variant
from stages.build.reasons import explain
from stages.contract import StageContext
from stages.detection.sidecar import FILE_NAME
from stages.errors import StageError, UnavailableError
from stages.options.backend import BackendOptions, BuildOptions

SHOWN = 5  # layers left in float that are told; the report has them all


@dataclass(frozen=True)
class BuildInputs:
    """The exported model; its precision is that of the engine's weights."""

    model: ExportedModel


class Build:
    """The stage: lower the model for the backend, build, and audit what was built."""

    name: ClassVar[str] = "build"
    version: ClassVar[int] = 4
    packages: ClassVar[tuple[str, ...]] = ("onnx",)
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
        built = backend.build(model, model.precision, options, context.out)
        seconds = time.perf_counter() - start
        shutil.copyfile(model.path(FILE_NAME), context.out / FILE_NAME)
        if not (context.out / built.main).is_file():
            raise StageError(f"backend {backend.name} wrote no {built.main!r}; this is the backend's bug: report it")
        notes = dict(built.notes)
        if model.precision is Precision.INT8 and "audit" in notes:
            notes["audit"] = explain(notes["audit"], model.path("model.onnx"))
        engine = engine_of(
            model, context.out, backend.name, str(variant), built.main, options, notes, build_seconds=seconds
        )
        _tell(engine, context)
        context.progress(1, 1)
        return engine


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
    passes = engine.notes.get("passes", ())
    if passes:
        done = [f"{r['name']} {sum(r['counts'].values())}" for r in passes if any(r["counts"].values())]
        context.detail(f"lowering: {', '.join(done) or 'nothing to do'}")
    for report in passes:
        for remark in report["remarks"]:
            context.detail(f"{report['name']}: {remark}")
