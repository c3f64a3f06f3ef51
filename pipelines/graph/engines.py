"""The nodes of the graph for each backend: engines, latency, accuracy, comparison and agreement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.config.auto import has_labels
from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting, stage_options
from pipelines.execution import ids
from pipelines.execution.paddle_python import paddle_python
from pipelines.execution.runner import Node, Ref
from pipelines.system.devices import device_of
from stages.artifacts import Precision
from stages.codec import to_json
from stages.options.accuracy import AccuracyOptions, CompareOptions
from stages.options.agreement import AgreementOptions, DetectOptions
from stages.options.backend import BuildOptions
from stages.options.latency import LatencyOptions


@dataclass(frozen=True)
class _Backend:
    """A backend of the config."""

    name: str
    options: dict[str, Any]
    threads: int
    """CPU threads of its engines."""
    fingerprint: Mapping[str, str]


def _backend(config: PipelineConfig, name: str) -> _Backend:
    plain = to_json(config.backend[name])
    fingerprint = paddle_python(config.run.paddle_python).fingerprint(name)
    return _Backend(name, plain, int(plain.get("threads", 1)), fingerprint)


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
                inputs={"engines": _engines(backend, exports), "images": images},
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
    """An engine from each of the ``exports``, their times, and with labels their scores and what INT8 costs.

    Args:
        name: one of ``config.backend``.
        exports: the models, by precision.
        cores: CPU threads of what runs no engine.
    """
    backend = _backend(config, name)
    nodes = [_build(backend, precision, model) for precision, model in exports.items()]
    nodes.append(_latency(config, backend, exports))
    if has_labels(config):
        nodes += [_accuracy(config, backend, precision) for precision in exports]
        if Precision.INT8 in exports:
            nodes.append(_compare(config, backend, cores))
    return nodes


def _engines(backend: _Backend, precisions: Iterable[Precision]) -> list[Ref]:
    return [Ref(ids.build(backend.name, precision)) for precision in precisions]


def _build(backend: _Backend, precision: Precision, model: Ref) -> Node:
    origins = {"backend": "backend", "options": f"backend.{backend.name}"}
    return Node(
        id=ids.build(backend.name, precision),
        stage="build",
        options=BuildOptions(backend=backend.name, options=backend.options),
        origins=origins,
        inputs={"model": model},
        threads=backend.threads,
        fingerprint=backend.fingerprint,
        backend=backend.name,
        precision=precision.value,
    )


def _latency(config: PipelineConfig, backend: _Backend, precisions: Iterable[Precision]) -> Node:
    options, origins = stage_options(LatencyOptions, config, "latency", nms=Setting("accuracy.nms"))
    return Node(
        id=ids.latency(backend.name),
        stage="latency",
        options=options,
        origins=origins,
        inputs={"engines": _engines(backend, precisions), "images": Ref(ids.IMAGES)},
        threads=backend.threads,
        fingerprint=backend.fingerprint,
        timed=True,
        device=device_of(backend.options, backend.fingerprint),
        partial=True,
        backend=backend.name,
    )


def _accuracy(config: PipelineConfig, backend: _Backend, precision: Precision) -> Node:
    options, origins = stage_options(AccuracyOptions, config, "accuracy")
    return Node(
        id=ids.accuracy(backend.name, precision),
        stage="accuracy",
        options=options,
        origins=origins,
        inputs={"engine": Ref(ids.build(backend.name, precision)), "validation": Ref(ids.LABELS_VAL)},
        threads=backend.threads,
        fingerprint=backend.fingerprint,
        backend=backend.name,
        precision=precision.value,
    )


def _compare(config: PipelineConfig, backend: _Backend, cores: int) -> Node:
    options, origins = stage_options(CompareOptions, config, "accuracy")
    return Node(
        id=ids.compare(backend.name),
        stage="compare",
        options=options,
        origins=origins,
        inputs={
            "base": Ref(ids.accuracy(backend.name, Precision.FP32)),
            "other": Ref(ids.accuracy(backend.name, Precision.INT8)),
            "validation": Ref(ids.LABELS_VAL),
        },
        threads=cores,
        seeded=True,
        backend=backend.name,
        precision=Precision.INT8.value,
    )
