"""The nodes of the graph for each backend: engines, latency, accuracy, comparison and agreement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipelines.config.auto import has_labels
from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting, stage_options
from pipelines.config.variants import variants_of
from pipelines.execution import ids
from pipelines.execution.node import TIMES
from pipelines.execution.paddle_python import paddle_python
from pipelines.execution.runner import Node, Ref
from pipelines.system.devices import device_of
from stages.artifacts import Precision
from stages.backends.variants import build_options
from stages.codec import to_json
from stages.numerics.variants import FP32, Variant
from stages.options.accuracy import AccuracyOptions, CompareOptions
from stages.options.agreement import AgreementOptions, DetectOptions
from stages.options.backend import BackendOptions, BuildOptions
from stages.options.export import GRAPH, Inside
from stages.options.latency import LatencyOptions
from stages.options.profile import ProfileOptions
from stages.options.throughput import ThroughputOptions


@dataclass(frozen=True)
class _Backend:
    """A backend of the config."""

    name: str
    options: BackendOptions
    fingerprint: Mapping[str, str]
    variants: list[Variant]
    """Those that are made of the exported models there are."""

    @property
    def threads(self) -> int:
        """CPU threads of its engines."""
        return self.options.threads

    @property
    def engines(self) -> list[Variant]:
        """What is built: a variant that is only opened in another way has no engine of its own."""
        return list(dict.fromkeys(variant.engine for variant in self.variants))


def _backend(config: PipelineConfig, name: str) -> _Backend:
    fingerprint = paddle_python(config.run.paddle_python).fingerprint(name)
    return _Backend(name, config.backend[name], fingerprint, variants_of(config, name).variants)


def speed_limits(config: PipelineConfig) -> dict[str, float]:
    """The limits of the gates on speed-ups, as `stages.options.latency.LatencyOptions` names them."""
    gate = config.gate
    found = {
        "over_fp32.runtime": gate.min_speedup,
        "over_fp32.end2end": gate.min_end2end_speedup,
        "over_best_float.runtime": gate.min_speedup_over_float,
    }
    return {name: limit for name, limit in found.items() if limit is not None}


def agreement_nodes(config: PipelineConfig, exports: Mapping[Precision, Ref], cores: int) -> list[Node]:
    """Detections of the reference and of each backend on the same images, and their comparison."""
    options, origins = stage_options(
        DetectOptions, config, images=Setting("agreement.images"), nms=Setting("accuracy.nms")
    )
    images = Ref(ids.IMAGES)
    nodes = [
        Node(
            id=ids.DETECT_REFERENCE,
            stage="detect",
            options=options,
            origins=origins,
            inputs={"models": list(exports.values()), "images": images},
            threads=cores,
        )
    ]
    for backend in [_backend(config, name) for name in config.backend]:
        nodes.append(
            Node(
                id=ids.detect(backend.name),
                stage="detect",
                options=options,
                origins=origins,
                inputs={"engines": _engines(backend), "images": images},
                threads=backend.threads,
                fingerprint=backend.fingerprint,
                partial=True,
                backend=backend.name,
            )
        )
    bounds, origins = stage_options(AgreementOptions, config, "agreement")
    engines = [Ref(ids.detect(name)) for name in config.backend]
    nodes.append(
        Node(
            id=ids.AGREEMENT,
            stage="agreement",
            options=bounds,
            origins=origins,
            inputs={"reference": Ref(ids.DETECT_REFERENCE), "engines": engines},
            partial=True,
        )
    )
    return nodes


def backend_nodes(config: PipelineConfig, name: str, exports: Mapping[Precision, Ref], cores: int) -> list[Node]:
    """The engines of the ``exports``, their times, and with labels their scores and what each costs beside FP32.

    Args:
        name: one of ``config.backend``.
        exports: the models, by precision.
        cores: CPU threads of what runs no engine, and cores of what runs several.
    """
    backend = _backend(config, name)
    inside = inside_of(config)
    nodes = [_build(backend, variant, exports[variant.weights], inside) for variant in backend.engines]
    nodes.append(_latency(config, backend))
    if config.profile.runs:
        nodes.append(_profile(config, backend))
    if config.latency.server.enabled:
        nodes.append(_throughput(config, backend, cores))
    if has_labels(config):
        nodes += [_accuracy(config, backend, variant, cores) for variant in backend.engines]
        nodes += [_compare(config, backend, variant, cores) for variant in backend.engines if variant != FP32]
    return nodes


def _engines(backend: _Backend) -> list[Ref]:
    return [Ref(ids.build(backend.name, str(variant))) for variant in backend.engines]


def inside_of(config: PipelineConfig) -> Inside | None:
    """What the engines do themselves, by ``export.nms`` and ``export.preprocess``; ``None``: nothing."""
    nms = config.accuracy.nms if config.export.nms == GRAPH else None
    preprocess = config.export.preprocess == GRAPH
    return Inside(nms, preprocess) if nms is not None or preprocess else None


def _build(backend: _Backend, variant: Variant, model: Ref, inside: Inside | None) -> Node:
    origins = {"backend": "backend", "options": f"backend.{backend.name}", "inside": "export"}
    return Node(
        id=ids.build(backend.name, str(variant)),
        stage="build",
        options=BuildOptions(backend=backend.name, options=build_options(backend.options, variant), inside=inside),
        origins=origins,
        inputs={"model": model},
        threads=backend.threads,
        fingerprint=backend.fingerprint,
        backend=backend.name,
        precision=str(variant),
    )


def _measuring(
    backend: _Backend, node_id: str, stage: str, options: Any, origins: Mapping[str, str], table: str = TIMES
) -> Node:
    """A stage that measures all engines of a backend on this machine, one node a backend.

    Args:
        table: what is taken together with it; what is measured beside the latencies has one of its own, so that asking
            for it, or taking it anew, is no reason to take them anew.
    """
    return Node(
        id=node_id,
        stage=stage,
        options=options,
        origins=origins,
        inputs={"engines": _engines(backend), "images": Ref(ids.IMAGES)},
        threads=backend.threads,
        fingerprint=backend.fingerprint,
        timed=True,
        table=table,
        device=device_of(to_json(backend.options), backend.fingerprint),
        partial=True,
        backend=backend.name,
    )


def _latency(config: PipelineConfig, backend: _Backend) -> Node:
    variants = Setting(f"backend.{backend.name}.variants", [str(variant) for variant in backend.variants])
    options, origins = stage_options(
        LatencyOptions,
        config,
        "latency",
        nms=Setting("accuracy.nms"),
        variants=variants,
        limits=speed_limits(config),
    )
    return _measuring(backend, ids.latency(backend.name), "latency", options, origins)


def _profile(config: PipelineConfig, backend: _Backend) -> Node:
    options, origins = stage_options(
        ProfileOptions,
        config,
        "profile",
        nms=Setting("accuracy.nms"),
        max_foreign=Setting("latency.max_foreign"),
        max_drift=Setting("latency.max_drift"),
    )
    return _measuring(backend, ids.profile(backend.name), "profile", options, origins, table="profile")


def _throughput(config: PipelineConfig, backend: _Backend, cores: int) -> Node:
    options, origins = stage_options(
        ThroughputOptions,
        config,
        "latency.server",
        cpus=Setting("latency.server.cpus", config.latency.server.cpus or cores),
        warmup=Setting("latency.warmup"),
        warmup_seconds=Setting("latency.warmup_seconds"),
        max_foreign=Setting("latency.max_foreign"),
        max_drift=Setting("latency.max_drift"),
        nms=Setting("accuracy.nms"),
        variants=Setting(f"backend.{backend.name}.variants", [str(variant) for variant in backend.variants]),
    )
    node = _measuring(backend, ids.throughput(backend.name), "throughput", options, origins, table="throughput")
    return replace(node, cores=cores)


def _accuracy(config: PipelineConfig, backend: _Backend, variant: Variant, cores: int) -> Node:
    options, origins = stage_options(AccuracyOptions, config, "accuracy")
    return Node(
        id=ids.accuracy(backend.name, str(variant)),
        stage="accuracy",
        options=options,
        origins=origins,
        inputs={"engine": Ref(ids.build(backend.name, str(variant))), "validation": Ref(ids.LABELS_VAL)},
        threads=backend.threads,
        cores=cores,
        fingerprint=backend.fingerprint,
        backend=backend.name,
        precision=str(variant),
    )


def _compare(config: PipelineConfig, backend: _Backend, variant: Variant, cores: int) -> Node:
    options, origins = stage_options(CompareOptions, config, "accuracy")
    return Node(
        id=ids.compare(backend.name, str(variant)),
        stage="compare",
        options=options,
        origins=origins,
        inputs={
            "base": Ref(ids.accuracy(backend.name, str(FP32))),
            "other": Ref(ids.accuracy(backend.name, str(variant))),
            "validation": Ref(ids.LABELS_VAL),
        },
        threads=cores,
        seeded=True,
        backend=backend.name,
        precision=str(variant),
    )
