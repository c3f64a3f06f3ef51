"""The part of the graph that looks at single blocks: the sensitivity analysis, and the choice of float blocks."""

from __future__ import annotations

from typing import Any, TypeVar

from pipelines.config.auto import NONE, VAL, block_backend, block_labels, has_set
from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting, stage_options
from pipelines.execution import ids
from pipelines.execution.paddle_python import paddle_python
from pipelines.execution.runner import Node, Ref
from pipelines.graph.light import float_model
from stages import backends
from stages.artifacts import Precision
from stages.backends.variants import build_options
from stages.numerics.variants import INT8
from stages.options.sensitivity import FloatBlocksOptions, SensitivityOptions

T = TypeVar("T", bound=SensitivityOptions)


def sensitivity_node(config: PipelineConfig, threads: int) -> Node:
    """The analysis alone."""
    return _node(ids.SENSITIVITY, config, threads, SensitivityOptions, {})


def float_blocks_node(config: PipelineConfig, threads: int) -> Node:
    """The choice of blocks for ``compression.max_map_drop``."""
    more = {name: Setting(f"compression.{name}") for name in ("max_map_drop", "min_speedup")}
    validation = Ref(ids.LABELS_VAL) if has_set(config, VAL) else None
    return _node(ids.FLOAT_BLOCKS, config, threads, FloatBlocksOptions, more, validation=validation)


def _node(
    stage: str, config: PipelineConfig, threads: int, options: type[T], more: dict[str, Setting], **inputs: Any
) -> Node:
    backend, labels = block_backend(config), block_labels(config)
    own = backends.get(backend)
    chosen, origins = stage_options(
        options,
        config,
        "sensitivity",
        backend=Setting("sensitivity.backend", backend),
        options=Setting(f"backend.{backend}", build_options(config.backend.get(backend, own.Options()), INT8)),
        labels=Setting("sensitivity.labels", labels if labels != NONE else VAL),
        nms=Setting("accuracy.nms"),
        opset=Setting("export.opset"),
        **more,
    )
    return Node(
        id=stage,
        stage=stage,
        options=chosen,
        origins=origins,
        inputs={
            "base": float_model(config),
            "model": Ref(ids.export(Precision.INT8)),
            "images": Ref(ids.IMAGES),
            "labels": Ref(ids.labels(labels)) if labels != NONE else None,
            **inputs,
        },
        threads=threads,
        seeded=True,
        # Chosen by what was measured on this CPU, as kernels are when an engine is built.
        fingerprint=paddle_python(config.run.paddle_python).fingerprint(backend),
    )
