"""The images and labels (`conf/data`)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class CollectOptions:
    """Which labelled images, or which unlabeled sample (stage ``collect``)."""

    annotations: str | None = None
    """COCO JSON; ``None`` for an unlabeled folder."""
    images: str = ""
    """Folder of images."""
    sample: int | None = None
    """How many images to sample with the run's seed; ``None``: all."""
    max_unreadable: float = 0.05
    """Largest share of unreadable unlabeled images before the run stops; a labelled image always has to be readable."""
    allow_overlap: bool = False
    """Accept images that also occur in the validation set."""
    listing: str = ""
    """Digest of names, sizes and times under ``images``: makes a changed folder a changed key."""


@dataclass
class ShapesOptions:
    """The drawn data set of the demo (stage ``draw``)."""

    train: int = 400
    unlabeled: int = 100
    val: int = 100
    size: list[int] = field(default_factory=lambda: [320, 320])
    seed: int = 7


@dataclass
class DataOptions:
    """Where images and labels are (``conf/data``); the layouts fill the paths in from ``root``."""

    name: str = ""
    """Short name for titles and experiments; empty: the name of the folder ``root``, or ``kind``."""
    kind: str = "coco_folder"
    """``coco``, ``coco_folder`` (labelled images of the user's) or ``shapes`` (the drawn demo)."""
    root: str | None = None
    """Folder of the data set; not used by ``shapes``."""
    train_annotations: str | None = None
    """COCO JSON of the training images (only ``finetune`` needs it)."""
    train_images: str | None = None
    val_annotations: str | None = None
    """COCO JSON of the images that every engine is scored on."""
    val_images: str | None = None
    unlabeled_images: str | None = None
    """Folder of images without labels, searched recursively: what the compression sees."""
    max_unreadable: float = 0.05
    """Largest share of unreadable unlabeled images before the run stops."""
    allow_overlap: bool = False
    """Accept unlabeled images that also occur among the validation images."""
    shapes: ShapesOptions = field(default_factory=ShapesOptions)
    """How the demo's images are drawn (``kind: shapes``)."""
