"""The nodes that move the application's thresholds: one per backend with another engine than FP32's."""

from __future__ import annotations

from pipelines.config.auto import TRAIN, has_labels, has_set
from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting, stage_options
from pipelines.config.variants import variants_of
from pipelines.execution import ids
from pipelines.execution.paddle_python import paddle_python
from pipelines.execution.runner import Node, Ref
from stages.errors import ConfigError
from stages.numerics.variants import FP32
from stages.options.suggest import close_to, suggestion
from stages.options.thresholds import ThresholdOptions, scores_by_class


def moves_thresholds(config: PipelineConfig) -> bool:
    """Whether the config names a threshold of the application."""
    return config.thresholds.score is not None or bool(config.thresholds.classes)


def thresholds_by_labels(config: PipelineConfig) -> bool:
    """Whether they are moved on labelled training images."""
    return moves_thresholds(config) and has_set(config, TRAIN)


def thresholds_nodes(config: PipelineConfig, cores: int) -> list[Node]:
    """A node per backend; none where no threshold is named.

    Args:
        cores: CPU cores for processes that run engines.

    Raises:
        ConfigError: a class that the model does not have, or nothing that a threshold could move to.
    """
    if not moves_thresholds(config):
        return []
    _require_known(config)
    nodes = [node for name in config.backend if (node := _node(config, name, cores)) is not None]
    if not nodes:
        raise ConfigError(
            [
                "thresholds.score: this run has no engine but FP32, so there is nothing to move it to; choose "
                "a compression, e.g. compression=ptq, or leave it out"
            ]
        )
    return nodes


def _require_known(config: PipelineConfig) -> None:
    labels = config.model.labels or []
    for name in scores_by_class(config.thresholds.classes):
        if labels and name not in labels:
            meant = suggestion(close_to(name, labels)) or f" (it has {', '.join(labels)})"
            raise ConfigError([f"thresholds.classes: the model has no class {name}{meant}"])


def _node(config: PipelineConfig, backend: str, cores: int) -> Node | None:
    engines = list(dict.fromkeys(str(variant.engine) for variant in variants_of(config, backend).variants))
    if engines == [str(FP32)]:
        return None
    named = config.thresholds.score is not None
    score = Setting("thresholds.score") if named else Setting("model.draw_threshold")
    options, origins = stage_options(ThresholdOptions, config, "thresholds", score=score, nms=Setting("accuracy.nms"))
    labeled = thresholds_by_labels(config)
    scored = [Ref(ids.accuracy(backend, engine)) for engine in engines] if has_labels(config) else []
    return Node(
        id=ids.thresholds(backend),
        stage="thresholds",
        options=options,
        origins=origins,
        inputs={
            "engines": [Ref(ids.build(backend, engine)) for engine in engines],
            "labeled": Ref(ids.LABELS_TRAIN) if labeled else None,
            "images": None if labeled else Ref(ids.IMAGES),
            **({"scored": scored, "validation": Ref(ids.LABELS_VAL)} if scored else {}),
        },
        threads=config.backend[backend].threads,
        cores=cores,
        seeded=True,
        fingerprint=paddle_python(config.run.paddle_python).fingerprint(backend),
        partial=True,
        backend=backend,
    )
