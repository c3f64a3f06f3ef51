"""The user's labelled data whatever its layout: resolved from the config by looking at names, and its classes.

``resolve`` fills in the paths of a layout that is found by looking (``data=auto``, ``yolo``, ``voc``, ``roboflow``),
and those of one labelled folder that is divided (``data.val_fraction``). Below it, the paths mean the same for all:
``train_annotations`` and ``val_annotations`` are set where there is such a split, and so is the folder of its images.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config.auto import CONVERTED, TRAIN, VAL, converted
from pipelines.config.keys import Problem
from stages.errors import DataError
from stages.options.data import DataOptions

if TYPE_CHECKING:
    from stages.data.formats.source import Source
    from stages.detection.coco import CocoSet

_PATHS = ("train_annotations", "train_images", "val_annotations", "val_images")
_COCO = {
    "coco_folder": ("{}.json", "{}"),
    "coco": ("annotations/instances_{}2017.json", "{}2017"),
}
"""Layout of ours -> label file and folder of images of a split."""


def resolve(data: DataOptions, *, finetune_only: bool = False) -> list[Problem]:
    """Fill in the paths under ``data.root``; what is in the way of it, as problems.

    Args:
        data: changed in place.
        finetune_only: the run only trains, and needs no validation set.
    """
    if data.kind == "shapes":
        given = data.val_fraction is not None
        return [Problem("data.val_fraction", "data=shapes draws a validation set; leave it out")] if given else []
    if data.kind not in (*CONVERTED, "auto"):
        return _divide(data) if data.val_fraction is not None else []
    problems = [
        Problem(
            f"data.{key}", f"is found by data={data.kind}; leave it out, or choose data=coco_folder to name the paths"
        )
        for key in _PATHS
        if getattr(data, key) is not None
    ]
    if data.root is None:
        return [
            *problems,
            Problem("data.root", "is not given; name the folder of your data set, e.g. data.root=/data/mine"),
        ]
    root = Path(data.root).absolute()
    if problems or not root.is_dir():
        return problems  # the check of the paths tells that there is no such folder
    from stages.data.formats import detect
    from stages.data.formats.source import refuse_outsiders

    try:
        found = detect.find(root, data.kind)
        data.root = str(found.root)
        if found.kind in _COCO:
            return _coco(data, found.root, found.kind, finetune_only)
        data.kind = found.kind
        source = detect.open_source(found.kind, found.root)
        refuse_outsiders(source, data.allow_outside_images)
        for split in source.splits:
            source.names(split)
    except DataError as error:
        return [Problem("data.root", str(error))]
    for split, part in source.splits.items():
        setattr(data, f"{split}_annotations", str(part.labels[0]))
        setattr(data, f"{split}_images", str(part.root))
    return _one_split(data, set(source.splits), finetune_only)


def _coco(data: DataOptions, root: Path, kind: str, finetune_only: bool) -> list[Problem]:
    """The paths of a COCO layout that was found; ``kind`` stays ``auto``."""
    splits = set()
    for split in (TRAIN, VAL):
        annotations, images = (root / pattern.format(split) for pattern in _COCO[kind])
        if annotations.is_file() and images.is_dir():
            setattr(data, f"{split}_annotations", str(annotations))
            setattr(data, f"{split}_images", str(images))
            splits.add(split)
    if not splits:
        return [Problem("data.root", f"{root} has label files and not the folders of their images; add those")]
    if splits == {TRAIN} and data.val_fraction is not None:
        return _divide(data)
    if TRAIN in splits:
        data.unlabeled_images = data.unlabeled_images or data.train_images
    return _one_split(data, splits, finetune_only)


def _one_split(data: DataOptions, splits: set[str], finetune_only: bool) -> list[Problem]:
    """Whether there is a validation set, or one is held out."""
    if len(splits) > 1:
        if data.val_fraction is not None:
            return [Problem("data.val_fraction", f"{data.root} has a validation split already; leave it out")]
        return []
    if data.val_fraction is not None:
        (split,) = splits
        for part in ("annotations", "images"):
            for name in (TRAIN, VAL):
                setattr(data, f"{name}_{part}", getattr(data, f"{split}_{part}"))
        return []
    if splits == {TRAIN} and not finetune_only:
        text = f"{data.root} has training images only; hold out a share of them to score on, e.g. data.val_fraction=0.2"
        return [Problem("data.val_fraction", f"is not given, and {text}")]
    return []


def _divide(data: DataOptions) -> list[Problem]:
    """One labelled folder, named by its paths, as training and validation set."""
    if data.val_annotations is not None and Path(data.val_annotations).is_file():
        return [
            Problem(
                "data.val_fraction",
                f"there are validation labels already ({data.val_annotations}); leave it out, or set "
                "data.val_annotations=null",
            )
        ]
    if data.train_annotations is None or data.train_images is None:
        return [Problem("data.val_fraction", "divides data.train_annotations and data.train_images; give both")]
    if data.unlabeled_images == data.train_images:
        data.unlabeled_images = None  # those of the training side, which the division tells
    data.val_annotations, data.val_images = data.train_annotations, data.train_images
    return []


def open_source(data: DataOptions) -> Source:
    """The files of a resolved data set that is converted; errors as of `detect.open_source`."""
    from stages.data.formats import detect

    kind, root, annotations = source_of(data)
    return detect.open_source(kind, Path(root), Path(annotations) if annotations else None, Path(root))


def source_of(data: DataOptions) -> tuple[str, str, str | None]:
    """Kind, root and label file of what is converted, as the stage ``convert`` takes them."""
    if data.kind in CONVERTED:
        return data.kind, str(Path(str(data.root)).absolute()), None
    return "coco", str(Path(str(data.train_images)).absolute()), str(Path(str(data.train_annotations)).absolute())


class Labels:
    """Classes, boxes and images of the user's labelled sets; one way for every layout. Decodes no image."""

    def __init__(self, data: DataOptions) -> None:
        self._data = data
        self._source = open_source(data) if converted(data) else None

    def place(self, split: str) -> str:
        """The label file of a split, for messages."""
        return str(getattr(self._data, f"{split}_annotations"))

    def categories(self, split: str) -> list[dict[str, Any]] | None:
        """``{"id", "name"}`` of each class in a model's order; ``None`` if there is no such split.

        Raises:
            DataError: a label file that cannot be read.
        """
        if getattr(self._data, f"{split}_annotations") is None:
            return None
        if self._source is not None:
            return self._source.categories(self._split(split))
        from stages.detection import coco

        return coco.read_categories(Path(self.place(split)))

    def names(self, split: str) -> list[str] | None:
        """Class names; as `categories`."""
        found = self.categories(split)
        return None if found is None else [str(c["name"]) for c in found]

    def content(self, split: str) -> CocoSet:
        """Everything labelled; boxes may have any scale. A set that is divided is whole here.

        Raises:
            DataError: what is wrong with the labels.
        """
        if self._source is not None:
            return self._source.read(self._split(split))
        from stages.detection import coco

        return coco.read_coco(Path(self.place(split)))

    def files(self, split: str) -> tuple[Path, list[Path], list[Path]] | None:
        """Folder, images and label files of a split that is converted; ``None`` for other layouts."""
        if self._source is None:
            return None
        name = self._split(split)
        part = self._source.splits[name]
        return part.root, self._source.opened(name), part.labels

    def all(self) -> list[Path]:
        """Label files and images of all splits of a set that is converted."""
        assert self._source is not None
        splits = self._source.splits.items()
        return [path for split, part in splits for path in (*part.labels, *self._source.opened(split))]

    def opened(self, split: str) -> list[Path]:
        """The images that a labelled split names and that are read for it, in whatever layout; some may be missing."""
        if self._source is not None:
            return self._source.opened(self._split(split))
        from stages.detection.coco_parts import named_images

        return named_images(Path(self.place(split)), Path(str(getattr(self._data, f"{split}_images"))))

    def _split(self, split: str) -> str:
        assert self._source is not None
        return split if split in self._source.splits else next(iter(self._source.splits))


def described(data: DataOptions) -> Iterator[str]:
    """One line on what was found where the user left it to be found; nothing for other layouts."""
    if converted(data):
        from stages.data.formats import detect

        yield detect.describe(open_source(data), data.val_fraction)
    elif data.kind == "auto":
        files = [path for path in (data.train_annotations, data.val_annotations) if path is not None]
        yield f"COCO labels {' and '.join(files)}"
