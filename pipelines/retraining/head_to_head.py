"""The challenger beside the champion: which stages measure both again, on the same images, in one go.

Scores are exact, so they may come from the store; times are always taken anew, of all engines alternately.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pipelines.config.auto import has_labels
from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting, stage_options
from pipelines.config.variants import variants_of
from pipelines.execution import ids
from pipelines.execution.node import Node, Ref
from pipelines.execution.paddle_python import paddle_python
from pipelines.graph.engines import speed_limits
from pipelines.registry.champion import CHALLENGER, CHAMPION, Champion
from pipelines.registry.names import backend_of, precision_of
from pipelines.runs.run import Run
from pipelines.system.devices import device_of
from stages.artifacts import LabeledSet, sha256_of
from stages.codec import to_json
from stages.errors import DataError
from stages.numerics.variants import engine_of
from stages.options.accuracy import AccuracyOptions, CompareOptions
from stages.options.champion import JudgeOptions
from stages.options.latency import LatencyOptions
from stages.outside import names


def duel_nodes(
    config: PipelineConfig, run: Run, run_id: str, champion: Champion | None, *, again: bool = False
) -> list[Node]:
    """The stages that judge the challenger of ``run_id``, fed by what ``run`` has of that run's stages.

    Args:
        champion: its engine has to stand in the results as ``ids.CHAMPION_ENGINE``.
        again: time the engines once more, where there is no champion too; else the run's own timing is judged then.
    """
    backend, precision = backend_of(config), precision_of(config)
    base = [] if precision == "fp32" else ["fp32", *_other_floats(config, run, backend, precision)]
    built = {name: ids.build(backend, name) for name in [*base, precision]}
    labeled = has_labels(config)
    judged, origins = stage_options(
        JudgeOptions, config, gate=Setting("gate"), run_id=run_id, hardware=run.info.hardware
    )
    validation = run.results.artifacts.get(ids.LABELS_VAL)
    if isinstance(validation, LabeledSet):
        judged.images_digest = validation.images_digest
    if champion is None:
        judged.names = [*base, precision]
        compared = [Ref(ids.compare(backend, precision))] if base and labeled else []
        scored = [Ref(ids.accuracy(backend, name)) for name in built] if labeled else []
        engines = [Ref(node) for node in built.values()]
        timed = [_timing(config, engines, judged.names, speed_limits(config))] if again else []
        latency = Ref(ids.DUEL_LATENCY if again else ids.latency(backend))
        return [*timed, _judge(judged, origins, engines, latency, scored, compared)]
    judged.names = [*base, CHAMPION, CHALLENGER]
    judged.champion = {"version": champion.version.number, "run_id": champion.version.run_id}
    engines = [*(Ref(built[name]) for name in base), Ref(ids.CHAMPION_ENGINE), Ref(built[precision])]
    nodes = _scores(config, backend, dict(zip(judged.names, engines, strict=True))) if labeled else []
    beside = {"runtime": config.gate.champion.min_speedup, "end2end": config.gate.champion.min_end2end_speedup}
    limits = {f"against.{CHAMPION}.{mode}": limit for mode, limit in beside.items() if limit is not None}
    nodes.append(_timing(config, engines, judged.names, {**speed_limits(config), **limits}))
    scored = [Ref(ids.duel_accuracy(name)) for name in judged.names] if labeled else []
    compared = [Ref(ids.duel_compare(name)) for name in judged.names[:-1]] if labeled else []
    return [*nodes, _judge(judged, origins, engines, Ref(ids.DUEL_LATENCY), scored, compared)]


def _timing(config: PipelineConfig, engines: list[Ref], names: list[str], limits: Mapping[str, float]) -> Node:
    """Time the engines alternately, never from the store."""
    backend = backend_of(config)
    own = to_json(config.backend[backend])
    fingerprint = paddle_python(config.run.paddle_python).fingerprint(backend)
    options, origins = stage_options(
        LatencyOptions,
        config,
        "latency",
        nms=Setting("accuracy.nms"),
        names=names,
        limits=dict(limits),
    )
    return Node(
        id=ids.DUEL_LATENCY,
        stage="latency",
        options=options,
        origins=origins,
        inputs={"engines": engines, "images": Ref(ids.IMAGES)},
        threads=int(own.get("threads", 1)),
        fingerprint=fingerprint,
        timed=True,
        reuse=False,
        device=device_of(own, fingerprint),
    )


def _other_floats(config: PipelineConfig, run: Run, backend: str, precision: str) -> list[str]:
    """Float engines that the challenger's run built beside FP32: it has to be faster than the fastest of them too."""
    names = [str(variant) for variant in variants_of(config, backend).variants if variant.is_float]
    own = [name for name in names if name not in ("fp32", precision) and name == engine_of(name)]
    return [name for name in own if ids.build(backend, name) in run.results.artifacts]


def _scores(config: PipelineConfig, backend: str, engines: Mapping[str, Ref]) -> list[Node]:
    """Score every engine, and compare the challenger with each of the others."""
    threads = int(to_json(config.backend[backend]).get("threads", 1))
    options, origins = stage_options(AccuracyOptions, config, "accuracy")
    nodes = [
        Node(
            id=ids.duel_accuracy(name),
            stage="accuracy",
            options=options,
            origins=origins,
            inputs={"engine": engine, "validation": Ref(ids.LABELS_VAL)},
            threads=threads,
            fingerprint=paddle_python(config.run.paddle_python).fingerprint(backend),
        )
        for name, engine in engines.items()
    ]
    for name in engines:
        if name == CHALLENGER:
            continue
        # Pictures of the champion's would call both by the same precision.
        none = {"worst": Setting("accuracy.worst", 0), "typical": Setting("accuracy.typical", 0)}
        more = none if name != "fp32" else {}
        compared, origins = stage_options(CompareOptions, config, "accuracy", **more)
        nodes.append(
            Node(
                id=ids.duel_compare(name),
                stage="compare",
                options=compared,
                origins=origins,
                inputs={
                    "base": Ref(ids.duel_accuracy(name)),
                    "other": Ref(ids.duel_accuracy(CHALLENGER)),
                    "validation": Ref(ids.LABELS_VAL),
                },
                seeded=True,
            )
        )
    return nodes


def _judge(
    options: JudgeOptions,
    origins: Mapping[str, str],
    engines: list[Ref],
    latency: Ref,
    scored: list[Ref],
    compared: list[Ref],
) -> Node:
    return Node(
        id=ids.JUDGE,
        stage="judge",
        options=options,
        origins=origins,
        inputs={"engines": engines, "latency": latency, "accuracies": scored, "comparisons": compared},
    )


def require_frozen(validation: LabeledSet) -> None:
    """Raise DataError if a validation image is not what it was when the run collected it."""
    listed = json.loads(validation.path("images.json").read_text(encoding="utf-8"))
    root = Path(validation.images_root)
    for image in listed:
        path = names.image_path(root, image)
        if not path.is_file() or sha256_of(path) != image["sha256"]:
            raise DataError(
                f"validation image {path} is not what it was in that run, so its mAP would not compare; run "
                "`detpress compress` again, then promote that run"
            )
