"""The images and labels (`conf/data`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.rules import COUNT, NAME, POSITIVE, SHARE, Rule, at_least, like, numbers, one_of, option, part

SYNTHETIC = "shapes"
PROPER_SHARE = Rule(lambda v: 0 < v < 1, "it must be more than 0 and less than 1")


@dataclass
class ShapesOptions:
    """The demo's data set, drawn from a seed (``kind: shapes``)."""

    train: int = option(400, POSITIVE, "labelled images for training")
    unlabeled: int = option(100, POSITIVE, "images without labels, for the compression")
    val: int = option(100, POSITIVE, "labelled images for scoring")
    size: list[int] = option([320, 320], numbers(2, at_least(64)), "height and width of an image, in pixels")
    seed: int = option(7, COUNT, "seed of the pictures; the run's `seed` does not change them")


@dataclass
class DataOptions:
    """Where images and labels are. The layouts derive every path from `root`."""

    name: str = option(
        "", NAME, "short name for titles and experiments; empty: the name of the folder `root`, or `kind`"
    )
    kind: str = option(
        "coco_folder",
        one_of("auto", "coco", "coco_folder", "yolo", "voc", "roboflow", SYNTHETIC),
        "layout of labelled images of your own; `auto`: found by looking; `shapes`: the demo's drawn images",
    )
    root: str | None = option(None, doc="folder of the data set; not used by `shapes`")
    train_annotations: str | None = option(
        None, doc="COCO JSON of the training images; only `finetune` and `compression.eval_by=map` need it"
    )
    train_images: str | None = option(None, doc="folder of the training images")
    val_annotations: str | None = option(None, doc="COCO JSON of the images that every engine is scored on")
    val_images: str | None = option(None, doc="folder of the validation images")
    unlabeled_images: str | None = option(
        None, doc="folder of images without labels, searched recursively: what the compression learns from"
    )
    calibration_images: str | None = option(
        None,
        doc="folder of images that activation ranges are observed on, searched recursively; null: some of the "
        "unlabeled ones (how many of either: `compression.calibration_images`)",
    )
    val_fraction: float | None = option(
        None,
        PROPER_SHARE,
        "share of the labelled images that is held out for validation by `seed`, where there is no validation set",
    )
    max_unreadable: float = option(
        0.05, SHARE, "largest share of unreadable unlabeled images; with more, the run stops"
    )
    allow_overlap: bool = option(False, doc="accept unlabeled images that are among the validation images too")
    allow_outside_images: bool = option(
        False,
        doc="accept labels that name images outside of their image folder (`..`, absolute paths, links); such an image "
        "never gets into a bundle, a report or MLflow",
    )
    shapes: ShapesOptions = part(ShapesOptions)


@dataclass
class CollectOptions:
    """Which labelled images, or which unlabeled sample (stage ``collect``)."""

    annotations: str | None = option(None, doc="COCO JSON of the images; null for all images of an unlabeled folder")
    images: str = option("", doc="folder of images")
    sample: int | None = option(None, POSITIVE, "how many images to sample with the run's seed; null: all")
    max_unreadable: float = like(DataOptions, "max_unreadable")
    allow_overlap: bool = like(DataOptions, "allow_overlap")
    allow_outside_images: bool = like(DataOptions, "allow_outside_images")
    listing: str = option(
        "", doc="digest of names, sizes and times of what is opened: makes changed files a changed key"
    )


@dataclass
class ConvertOptions:
    """Which labels are converted to COCO JSON, or divided (stage ``convert``)."""

    kind: str = option(
        "yolo", one_of("yolo", "voc", "roboflow", "coco"), "layout; `coco`: one COCO file that is divided"
    )
    root: str = option("", doc="folder that the layout starts at; of a COCO file the folder of its images")
    annotations: str | None = option(None, doc="COCO JSON, for `coco`")
    val_fraction: float | None = like(DataOptions, "val_fraction")
    allow_outside_images: bool = like(DataOptions, "allow_outside_images")
    listing: str = option(
        "", doc="digest of names, sizes and times of labels and images: makes changed files a changed key"
    )
