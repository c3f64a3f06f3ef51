"""The part of the graph that makes the float model lighter, between its export and the compression."""

from __future__ import annotations

import dataclasses

from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting, stage_options
from pipelines.execution import ids
from pipelines.execution.runner import Node, Ref
from stages.artifacts import Precision
from stages.options.lighten import LightenOptions, lightens


def float_model(config: PipelineConfig) -> Ref:
    """The float model that INT8 is made of: the exported one, or the lighter one that learned from it."""
    return Ref(ids.LIGHTEN) if lightens(config.compression) else Ref(ids.export(Precision.FP32))


def lighten_nodes(config: PipelineConfig, threads: int, model: Setting, images: Node) -> list[Node]:
    """The stage, where ``compression.activation`` or ``compression.prune`` asks for it.

    Args:
        threads: CPU threads of the distillation.
        model: the architecture, without where its weights came from.
        images: collects the run's unlabeled images.
    """
    if not lightens(config.compression):
        return []
    own = {name: Setting(f"compression.light_{name}") for name in ("steps", "lr", "blocks")}
    options, origins = stage_options(
        LightenOptions,
        config,
        "compression",
        model=model,
        opset=Setting("export.opset"),
        agreement_images=Setting("export.agreement_images"),
        max_difference=Setting("export.max_difference"),
        **own,
    )
    learned_on = _learned_on(config, images)
    return [
        *([] if learned_on is images else [learned_on]),
        Node(
            id=ids.LIGHTEN,
            stage="lighten",
            options=options,
            origins=origins,
            inputs={"model": Ref(ids.export(Precision.FP32)), "images": Ref(learned_on.id)},
            threads=threads,
            seeded=True,
        ),
    ]


def _learned_on(config: PipelineConfig, images: Node) -> Node:
    """The images that it learns on: those of the run, or a sample of its own where they are not what it wants. Ranges
    need few and a training many, but no more than its steps see."""
    own = config.compression
    wanted = own.light_images
    if wanted is None:
        wanted = own.light_steps * own.batch
        enough = own.images is None or own.images >= wanted
    else:
        enough = own.images == wanted
    if enough:
        return images
    return dataclasses.replace(
        images,
        id=ids.LIGHTEN_IMAGES,
        options=dataclasses.replace(images.options, sample=wanted),
        origins={**images.origins, "sample": "compression.light_images"},
    )
