"""The compress pipeline as a graph: which stages, with which options, fed by what.

Building the graph reads the config and the list of files; it loads no model and no image.
"""

from __future__ import annotations

import dataclasses

from pipelines.config.auto import TRAIN, block_labels, has_set
from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting, stage_options
from pipelines.execution import ids
from pipelines.execution.runner import Input, Node, Ref
from pipelines.graph.blocks import float_blocks_node, sensitivity_node
from pipelines.graph.data import calibration_node, data_nodes, labeled_node
from pipelines.graph.engines import agreement_nodes, backend_nodes
from pipelines.graph.light import float_model, lighten_nodes
from pipelines.graph.search import search_node
from pipelines.graph.teacher import teacher_node
from pipelines.graph.thresholds import thresholds_by_labels, thresholds_nodes
from pipelines.graph.work import sized
from stages.artifacts import Precision
from stages.distillation.distill import scores_by_labels
from stages.options.compression import AUTO, DistillOptions
from stages.options.export import ExportOptions
from stages.options.finetune import FinetuneOptions


def compress_graph(config: PipelineConfig, source: Input, *, threads: int) -> list[Node]:
    """Every stage of a compression except the report, each after the stages it needs.

    Args:
        config: checked; ``model.labels`` filled in.
        source: the checkpoint or inference model the user brought; ``None`` for random weights (which ``finetune``
            may then train).
        threads: CPU threads of training and compression.
    """
    nodes = model_nodes(config, source, threads=threads)
    exports = {Precision.FP32: Ref(ids.export(Precision.FP32))}
    if config.compression.method != "none":
        exports[Precision.INT8] = Ref(ids.export(Precision.INT8))
        if config.compression.max_map_drop is not None:
            nodes += [
                *_train_labels(config, nodes, wanted=block_labels(config) == TRAIN),
                float_blocks_node(config, threads),
            ]
            exports[Precision.INT8] = Ref(ids.FLOAT_BLOCKS)
    for name in config.backend:
        nodes += backend_nodes(config, name, exports, threads)
    if config.agreement.images:
        nodes += agreement_nodes(config, exports, threads)
    nodes += _train_labels(config, nodes, wanted=thresholds_by_labels(config))
    nodes += thresholds_nodes(config, threads)
    return sized(nodes, config.model)


def sensitivity_graph(config: PipelineConfig, source: Input, *, threads: int) -> list[Node]:
    """The compression up to the INT8 model, and the analysis of its blocks; arguments as of ``compress_graph``."""
    nodes = model_nodes(config, source, threads=threads)
    labels = _train_labels(config, nodes, wanted=block_labels(config) == TRAIN)
    return sized([*nodes, *labels, sensitivity_node(config, threads)], config.model)


def model_nodes(config: PipelineConfig, source: Input, *, threads: int) -> list[Node]:
    """From the user's data and model to the exported models; arguments as of ``compress_graph``."""
    nodes = data_nodes(config)
    unlabeled = next(node for node in nodes if node.id == ids.IMAGES)
    if config.finetune.enabled:
        nodes += finetune_nodes(config, source, threads=threads)
    model: Input = Ref(ids.FINETUNE) if config.finetune.enabled else source
    images = Ref(unlabeled.id)
    nodes.append(_export(config, Precision.FP32, model, images, threads))
    if config.compression.method != "none":
        nodes += lighten_nodes(config, threads, _architecture(config), unlabeled)
        if config.compression.method == AUTO:
            judged = has_set(config, TRAIN)
            nodes += _before(config, labeled=judged and not config.finetune.enabled)
            nodes.append(search_node(config, threads, model=_architecture(config), labeled=judged))
        else:
            nodes += _distill(config, images, threads, listed=config.finetune.enabled)
        nodes.append(_export(config, Precision.INT8, Ref(nodes[-1].id), images, threads))
    return nodes


def _train_labels(config: PipelineConfig, nodes: list[Node], *, wanted: bool) -> list[Node]:
    """The labelled training images, where they are wanted and no node has collected them."""
    return [labeled_node(config, TRAIN)] if wanted and all(node.id != ids.LABELS_TRAIN for node in nodes) else []


def _distill(config: PipelineConfig, images: Ref, threads: int, *, listed: bool) -> list[Node]:
    """The compression; before it the images that it is calibrated on, if they are others than it learns from, and the
    training labels, if they are needed and not ``listed`` yet."""
    labeled = scores_by_labels(config.compression)
    more = {"nms": Setting("accuracy.nms")} if labeled else {}
    options, origins = stage_options(DistillOptions, config, "compression", model=_architecture(config), **more)
    node = Node(
        id=ids.DISTILL,
        stage="distill",
        options=options,
        origins=origins,
        inputs={
            "model": float_model(config),
            "images": images,
            "labeled": Ref(ids.LABELS_TRAIN) if labeled else None,
            "calibration": Ref(ids.CALIBRATION) if config.data.calibration_images else None,
            "teacher": None if config.compression.teacher is None else Ref(ids.TEACHER),
        },
        threads=threads,
        seeded=True,
    )
    if config.compression.teacher is None:
        return [*_before(config, labeled=labeled and not listed), node]
    return [*_before(config, labeled=labeled and not listed), teacher_node(config, images, threads), node]


def _before(config: PipelineConfig, *, labeled: bool) -> list[Node]:
    """The images that a compression is calibrated on, if they are others, and the training labels, if it needs them."""
    folder = config.data.calibration_images
    return [
        *([calibration_node(config, folder)] if folder else []),
        *([labeled_node(config, TRAIN)] if labeled else []),
    ]


def finetune_nodes(config: PipelineConfig, source: Input, *, threads: int) -> list[Node]:
    """The labelled training images and the training on them."""
    options, origins = stage_options(FinetuneOptions, config, "finetune", model=_architecture(config))
    return [
        labeled_node(config, TRAIN),
        Node(
            id=ids.FINETUNE,
            stage="finetune",
            options=options,
            origins=origins,
            inputs={"train": Ref(ids.LABELS_TRAIN), "start": source},
            threads=threads,
            seeded=True,
        ),
    ]


def _architecture(config: PipelineConfig) -> Setting:
    """The model without where its weights came from: those are an input, known by their digest."""
    return Setting("model", dataclasses.replace(config.model, weights=None, weights_sha256=None, inference_dir=None))


def _export(config: PipelineConfig, precision: Precision, model: Input, images: Ref, threads: int) -> Node:
    options, origins = stage_options(
        ExportOptions, config, "export", model=_architecture(config), precision=precision.value
    )
    return Node(
        id=ids.export(precision),
        stage="export",
        options=options,
        origins=origins,
        inputs={"model": model, "images": images},
        threads=threads,
        seeded=model is None,  # random weights come from the seed
        precision=precision.value,
    )
