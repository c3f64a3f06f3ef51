"""The part of the graph that makes the float model lighter, between its export and the compression."""

from __future__ import annotations

from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting, stage_options
from pipelines.execution import ids
from pipelines.execution.runner import Node, Ref
from pipelines.graph.data import unlabeled_node
from stages.artifacts import Precision
from stages.options.lighten import LightenOptions, lightens


def float_model(config: PipelineConfig) -> Ref:
    """The float model that INT8 is made of: the exported one, or the lighter one that learned from it."""
    return Ref(ids.LIGHTEN) if lightens(config.compression) else Ref(ids.export(Precision.FP32))


def lighten_nodes(config: PipelineConfig, threads: int, model: Setting) -> list[Node]:
    """The stage, where ``compression.activation`` or ``compression.prune`` asks for it.

    Args:
        threads: CPU threads of the distillation.
        model: the architecture, without where its weights came from.
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
    images = _images(config)
    return [
        *images,
        Node(
            id=ids.LIGHTEN,
            stage="lighten",
            options=options,
            origins=origins,
            inputs={"model": Ref(ids.export(Precision.FP32)), "images": Ref(images[0].id if images else ids.IMAGES)},
            threads=threads,
            seeded=True,
        ),
    ]


def _images(config: PipelineConfig) -> list[Node]:
    """Those that it learns on, where the run's own sample is not what it wants: ranges need few images and a training
    many, but no more than its steps see."""
    own = config.compression
    wanted = own.light_steps * own.batch if own.light_images is None else own.light_images
    enough = own.images is None or own.images >= wanted if own.light_images is None else own.images == wanted
    return [] if enough else [unlabeled_node(config, ids.LIGHTEN_IMAGES, Setting("compression.light_images", wanted))]
