"""The part of the graph that looks at single blocks: the sensitivity analysis, and the choice of float blocks."""

from __future__ import annotations

from typing import Any

from pipelines.config.auto import NONE, VAL, block_backend, block_labels, has_set
from pipelines.config.schema import PipelineConfig
from pipelines.execution.runner import Node, Ref
from stages import backends
from stages.codec import to_json
from stages.options.sensitivity import FloatBlocksOptions, SensitivityOptions


def sensitivity_node(config: PipelineConfig, threads: int) -> Node:
    """The analysis alone."""
    return _node("sensitivity", config, threads, SensitivityOptions, {})


def float_blocks_node(config: PipelineConfig, threads: int) -> Node:
    """The choice of blocks for ``compression.max_map_drop``."""
    c = config.compression
    more = {
        "max_map_drop": c.max_map_drop,
        "min_speedup": c.min_speedup,
        "verdict_images": config.sensitivity.verdict_images,
    }
    validation = Ref("labels.val") if has_set(config, VAL) else None
    return _node("float_blocks", config, threads, FloatBlocksOptions, more, validation=validation)


def _node(stage: str, config: PipelineConfig, threads: int, options: type, more: dict[str, Any], **inputs: Any) -> Node:
    backend, labels = block_backend(config), block_labels(config)
    own = backends.get(backend)
    return Node(
        id=stage,
        stage=stage,
        options=options(
            backend=backend,
            options=to_json(config.backend.get(backend, own.Options())),
            labels=labels if labels != NONE else VAL,
            images=config.sensitivity.images,
            nms=config.accuracy.nms,
            opset=config.export.opset,
            **more,
        ),
        inputs={
            "base": Ref("export.fp32"),
            "model": Ref("export.int8"),
            "images": Ref("images.unlabeled"),
            "labels": Ref(f"labels.{labels}") if labels != NONE else None,
            **inputs,
        },
        threads=threads,
        seeded=True,
        # Chosen by what was measured on this CPU, as kernels are when an engine is built.
        fingerprint=own.fingerprint(),
    )
