"""The nodes that collect the user's images and labels, and those that make them of something else."""

from __future__ import annotations

from pathlib import Path

from pipelines.config.auto import TRAIN, VAL, converted, has_labels
from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting, stage_options
from pipelines.config.user_data import Labels, source_of
from pipelines.execution import ids
from pipelines.execution.runner import Node, Ref
from pipelines.graph.user_inputs import threads_of
from stages.options.data import CollectOptions, ConvertOptions, ShapesOptions


def data_nodes(config: PipelineConfig) -> list[Node]:
    """Collect what the run needs to know of the user's images: the validation set, then the unlabeled sample."""
    nodes: list[Node] = []
    if config.data.kind == "shapes":
        shapes, origins = stage_options(ShapesOptions, config, "data.shapes")
        nodes.append(Node(id=ids.DRAW, stage="draw", options=shapes, origins=origins))
    files = Labels(config.data)
    if converted(config.data):
        nodes.append(convert_node(config, files))
    if has_labels(config):
        nodes.append(labeled_node(config, VAL, files))
    # Without a folder of its own, the compression sees the training images, without their labels.
    listed = converted(config.data) and config.data.unlabeled_images is None
    more = {"annotations": Setting("data.train_annotations", f"{TRAIN}.json")} if listed else {}
    options, origins = stage_options(
        CollectOptions,
        config,
        "data",
        images=_images(config, TRAIN if listed else "unlabeled"),
        sample=Setting("compression.images"),
        listing=_labeled_listing(config, TRAIN, files) if listed else _folder_listing(config),
        **more,
    )
    nodes.append(
        Node(
            id=ids.IMAGES,
            stage="collect_unlabeled",
            options=options,
            origins=origins,
            inputs={
                "drawn": _synthetic(config),
                "converted": Ref(ids.CONVERT) if listed else None,
                "validation": Ref(ids.LABELS_VAL) if has_labels(config) else None,
            },
            threads=threads_of(config),
            seeded=True,
        )
    )
    return nodes


def convert_node(config: PipelineConfig, files: Labels | None = None) -> Node:
    """The conversion of the user's labels; the seed counts where it decides which images are held out."""
    from stages.data.collect import listing_digest

    kind, root, annotations = source_of(config.data)
    options, origins = stage_options(
        ConvertOptions,
        config,
        "data",
        kind=Setting("data.kind", kind),
        root=Setting("data.root", root),
        annotations=Setting("data.train_annotations", annotations),
        listing=listing_digest(*(files or Labels(config.data)).all()),
    )
    seeded = config.data.val_fraction is not None
    return Node(
        id=ids.CONVERT, stage="convert", options=options, origins=origins, threads=threads_of(config), seeded=seeded
    )


def labeled_node(config: PipelineConfig, split: str, files: Labels | None = None) -> Node:
    """Collect the labelled images of a split, ``train`` or ``val``.

    Args:
        files: those that the config names, where somebody has listed them.
    """
    made = config.data.kind == "shapes" or converted(config.data)  # by a stage
    annotations = f"{split}.json" if made else getattr(config.data, f"{split}_annotations")
    validation = Ref(ids.LABELS_VAL) if split == TRAIN and has_labels(config) else None
    options, origins = stage_options(
        CollectOptions,
        config,
        "data",
        annotations=Setting(
            f"data.{split}_annotations", str(annotations) if made else str(Path(annotations).resolve())
        ),
        images=_images(config, split),
        listing=_labeled_listing(config, split, files or Labels(config.data)),
    )
    return Node(
        id=ids.labels(split),
        stage="collect_labeled",
        options=options,
        origins=origins,
        inputs={
            "drawn": _synthetic(config),
            "converted": Ref(ids.CONVERT) if converted(config.data) else None,
            "validation": validation,
        },
        threads=threads_of(config),
    )


def calibration_node(config: PipelineConfig, folder: str) -> Node:
    """Collect the images in ``folder``, which a compression takes its ranges from."""
    from stages.data.collect import listing_digest

    options, origins = stage_options(
        CollectOptions,
        config,
        "data",
        images=Setting("data.calibration_images", str(Path(folder).resolve())),
        sample=Setting("compression.calibration_images"),
        listing=listing_digest(Path(folder)),
    )
    return Node(
        id=ids.CALIBRATION,
        stage="collect_unlabeled",
        options=options,
        origins=origins,
        inputs={"validation": Ref(ids.LABELS_VAL) if has_labels(config) else None},
        threads=threads_of(config),
        seeded=True,
    )


def _images(config: PipelineConfig, split: str) -> Setting:
    """Where the images are: a folder of the user's, or the name of one among those that were drawn."""
    key = f"data.{split}_images"
    if config.data.kind == "shapes":
        return Setting(key, split)
    return Setting(key, str(Path(getattr(config.data, key.partition(".")[2])).resolve()))


def _synthetic(config: PipelineConfig) -> Ref | None:
    return Ref(ids.DRAW) if config.data.kind == "shapes" else None


def _folder_listing(config: PipelineConfig) -> str:
    """What tells that unlabeled images changed: names, sizes and times, without reading them."""
    from stages.data.collect import listing_digest

    folder = config.data.unlabeled_images
    # Drawn images are a stage's result, known by their digests.
    return "" if config.data.kind == "shapes" or folder is None else listing_digest(Path(folder))


def _labeled_listing(config: PipelineConfig, split: str, files: Labels) -> str:
    """The same of labelled images: those that the labels name, with any ending and in any folder; and the labels."""
    from stages.data.collect import listing_digest

    data = config.data
    if data.kind == "shapes":
        return ""
    digest = listing_digest(*files.opened(split))
    if not converted(data):  # else they are the result of a stage
        stat = Path(getattr(data, f"{split}_annotations")).stat()
        digest += f"-{stat.st_size}-{stat.st_mtime_ns}"
    return digest
