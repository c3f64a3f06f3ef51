"""The compress pipeline as a graph: which stages, with which options, fed by what.

Building the graph reads the config and the list of files; it loads no model and no image.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pipelines.config.auto import TRAIN, block_labels, has_labels
from pipelines.config.schema import PipelineConfig, stage_options
from pipelines.execution.runner import Input, Node, Ref
from pipelines.graph.blocks import float_blocks_node, sensitivity_node
from pipelines.graph.engines import agreement_nodes, backend_nodes
from stages.artifacts import Precision
from stages.distillation.distill import scores_by_labels
from stages.options.compression import DistillOptions
from stages.options.data import CollectOptions
from stages.options.export import ExportOptions
from stages.options.finetune import FinetuneOptions
from stages.options.model import ModelOptions


def compress_graph(config: PipelineConfig, source: Input, *, threads: int) -> list[Node]:
    """Every stage of a compression except the report, each after the stages it needs.

    Args:
        config: checked; ``model.labels`` filled in.
        source: the checkpoint or inference model the user brought; ``None`` for random weights (which ``finetune``
            may then train).
        threads: CPU threads of training and compression.
    """
    nodes = model_nodes(config, source, threads=threads)
    exports = {Precision.FP32: Ref("export.fp32")}
    if config.compression.method != "none":
        exports[Precision.INT8] = Ref("export.int8")
        if config.compression.max_map_drop is not None:
            nodes += [*_labels_for_blocks(config, nodes), float_blocks_node(config, threads)]
            exports[Precision.INT8] = Ref("float_blocks")
    for name, options in config.backend.items():
        nodes += backend_nodes(config, name, options, exports, threads)
    if config.agreement.images:
        nodes += agreement_nodes(config, exports, threads)
    return nodes


def sensitivity_graph(config: PipelineConfig, source: Input, *, threads: int) -> list[Node]:
    """The compression up to the INT8 model, and the analysis of its blocks; arguments as of ``compress_graph``."""
    nodes = model_nodes(config, source, threads=threads)
    return [*nodes, *_labels_for_blocks(config, nodes), sensitivity_node(config, threads)]


def model_nodes(config: PipelineConfig, source: Input, *, threads: int) -> list[Node]:
    """From the user's data and model to the exported models; arguments as of ``compress_graph``."""
    nodes = data_nodes(config)
    if config.finetune.enabled:
        nodes += finetune_nodes(config, source, threads=threads)
    model: Input = Ref("finetune") if config.finetune.enabled else source
    images = Ref("images.unlabeled")
    nodes.append(_export(config, Precision.FP32, model, images, threads))
    if config.compression.method != "none":
        nodes += _distill(config, images, threads, listed=config.finetune.enabled)
        nodes.append(_export(config, Precision.INT8, Ref("distill"), images, threads))
    return nodes


def _labels_for_blocks(config: PipelineConfig, nodes: list[Node]) -> list[Node]:
    """The labelled training images, where blocks are judged on them and no training has collected them."""
    wanted = block_labels(config) == TRAIN and all(node.id != "labels.train" for node in nodes)
    return [_labeled(config, TRAIN)] if wanted else []


def _distill(config: PipelineConfig, images: Ref, threads: int, *, listed: bool) -> list[Node]:
    """The compression; before it the training labels, if they are needed and not ``listed`` yet."""
    labeled = scores_by_labels(config.compression)
    more = {"nms": config.accuracy.nms} if labeled else {}
    node = Node(
        id="distill",
        stage="distill",
        options=stage_options(DistillOptions, config.compression, model=_architecture(config), **more),
        inputs={
            "model": Ref("export.fp32"),
            "images": images,
            "labeled": Ref("labels.train") if labeled else None,
        },
        threads=threads,
        seeded=True,
    )
    return [node] if listed or not labeled else [_labeled(config, "train"), node]


def data_nodes(config: PipelineConfig) -> list[Node]:
    """Collect what the run needs to know of the user's images: the validation set, then the unlabeled sample."""
    nodes: list[Node] = []
    if config.data.kind == "shapes":
        nodes.append(Node(id="draw", stage="draw", options=config.data.shapes))
    if has_labels(config):
        nodes.append(_labeled(config, "val"))
    data = config.data
    nodes.append(
        Node(
            id="images.unlabeled",
            stage="collect_unlabeled",
            options=CollectOptions(
                images=_images(config, "unlabeled"),
                sample=config.compression.images,
                max_unreadable=data.max_unreadable,
                allow_overlap=data.allow_overlap,
                listing=_listing(config, data.unlabeled_images),
            ),
            inputs={"drawn": _synthetic(config), "validation": Ref("labels.val") if has_labels(config) else None},
            seeded=True,
        )
    )
    return nodes


def finetune_nodes(config: PipelineConfig, source: Input, *, threads: int) -> list[Node]:
    """The labelled training images and the training on them."""
    return [
        _labeled(config, "train"),
        Node(
            id="finetune",
            stage="finetune",
            options=stage_options(FinetuneOptions, config.finetune, model=_architecture(config)),
            inputs={"train": Ref("labels.train"), "start": source},
            threads=threads,
            seeded=True,
        ),
    ]


def _labeled(config: PipelineConfig, split: str) -> Node:
    drawn = config.data.kind == "shapes"
    annotations = f"{split}.json" if drawn else getattr(config.data, f"{split}_annotations")
    validation = Ref("labels.val") if split == "train" and has_labels(config) else None
    return Node(
        id=f"labels.{split}",
        stage="collect_labeled",
        options=CollectOptions(
            annotations=str(annotations) if drawn else str(Path(annotations).resolve()),
            images=_images(config, split),
            max_unreadable=config.data.max_unreadable,
            allow_overlap=config.data.allow_overlap,
            listing=_listing(config, getattr(config.data, f"{split}_images"), annotations),
        ),
        inputs={"drawn": _synthetic(config), "validation": validation},
    )


def _images(config: PipelineConfig, split: str) -> str:
    if config.data.kind == "shapes":
        return split
    return str(Path(getattr(config.data, f"{split}_images")).resolve())


def _synthetic(config: PipelineConfig) -> Ref | None:
    return Ref("draw") if config.data.kind == "shapes" else None


def _listing(config: PipelineConfig, folder: str | None, annotations: str | None = None) -> str:
    """What tells that the user's files changed: names, sizes and times, without reading the images."""
    if config.data.kind == "shapes" or folder is None:
        return ""  # drawn images are a stage's result, known by their digests
    from stages.data.collect import listing_digest

    digest = listing_digest(Path(folder))
    if annotations is not None:
        stat = Path(annotations).stat()
        digest += f"-{stat.st_size}-{stat.st_mtime_ns}"
    return digest


def _architecture(config: PipelineConfig) -> ModelOptions:
    """The model without where its weights came from: those are an input, known by their digest."""
    return dataclasses.replace(config.model, weights=None, weights_sha256=None, inference_dir=None)


def _export(config: PipelineConfig, precision: Precision, model: Input, images: Ref, threads: int) -> Node:
    return Node(
        id=f"export.{precision}",
        stage="export",
        options=stage_options(ExportOptions, config.export, model=_architecture(config), precision=precision.value),
        inputs={"model": model, "images": images},
        threads=threads,
        seeded=model is None,  # random weights come from the seed
        precision=precision.value,
    )
