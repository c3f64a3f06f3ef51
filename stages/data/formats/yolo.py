"""YOLO labels: a text file an image, a line ``class cx cy w h`` a box, in shares of the image's width and height.

Where the images are is told by ``data.yaml`` (Ultralytics, Roboflow), or by the folders ``images`` and ``labels``
beside a ``classes.txt``. A line with three or more points is a polygon, of which the hull is the box.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stages.data.formats.source import (
    TRAIN,
    VAL,
    Cases,
    CocoBuilder,
    Source,
    Split,
    as_categories,
    check_names,
    lines_of,
    read_names,
    read_text,
    shown,
)
from stages.data.formats.yolo_files import common_folder, label_of, listed_images, locate, visible, wanted_labels
from stages.detection.coco import CocoSet, some
from stages.detection.images import list_images
from stages.errors import DataError
from stages.outside import yaml_text

CLASSES = "classes.txt"
TOLERANCE = 0.01
"""How far outside 0..1 a value may lie: exporters round, and Ultralytics accepts as much."""
_VAL_NAMES = ("val", "valid", "validation", "test")
"""Keys and folders that are taken for the validation split, best first."""


def fits(root: Path) -> str | None:
    """The file or folder that shows ``root`` to be YOLO; ``None`` if nothing does."""
    if found := find_yaml(root):
        return found.name
    if _classes_file(root) is not None and _has_label_files(root):
        return CLASSES
    return "labels/*.txt" if (root / "images").is_dir() and _has_label_files(root / "labels") else None


def find_yaml(root: Path) -> Path | None:
    """The data set's YAML file directly under ``root``: the one with classes and splits, ``data.yaml`` first."""
    for path in sorted(visible(root, (".yaml", ".yml")), key=lambda p: (p.stem.lower() != "data", p.name)):
        try:
            content = yaml_text.parse(read_text(path))
        except (DataError, yaml_text.Malformed):
            if path.stem.lower() == "data":
                return path  # opening it tells what is wrong
            continue
        splits = isinstance(content, dict) and ({"train", *_VAL_NAMES} & content.keys() or path.stem.lower() == "data")
        if splits and "names" in content:
            return path
    return None


class YoloSource(Source):
    """A YOLO data set under ``root``."""

    title: ClassVar[str] = "YOLO"
    sized: ClassVar[bool] = True

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._yaml = find_yaml(root)
        self._names = _yaml_names(self._yaml) if self._yaml else _read_classes(root)
        given = self._from_yaml(self._yaml) if self._yaml else self._from_folders()
        decides = [self._yaml or _classes_file(root) or root / CLASSES]
        self._labels: dict[str, dict[Path, Path | None]] = {}
        for name, (folder, images, lists) in given.items():
            self._labels[name] = {image: label_of(image) for image in images}
            files = [path for path in self._labels[name].values() if path is not None]
            self.splits[name] = Split(folder, images, [*decides, *lists, *files])
        if not any(path for of_split in self._labels.values() for path in of_split.values()):
            image = next((image for images in self._labels.values() for image in images), root)
            raise DataError(f"none of the images under {root} has a label file; {shown(image, root)} was looked for as "
                            f"{shown(wanted_labels(image)[0], root)}")  # fmt: skip

    def categories(self, split: str) -> list[dict[str, Any]]:
        """From ``names`` of data.yaml, or the lines of classes.txt."""
        return as_categories(self._names)

    def read(
        self, split: str, sizes: Mapping[Path, tuple[int, int]] | None = None, *, scored: bool | None = None
    ) -> CocoSet:
        """The boxes in pixels; see `Source.read`."""
        part, cases = self.splits[split], Cases(self.root)
        labels = self._labels[split]
        self._check_files(labels, cases)
        built = CocoBuilder(part, self._names)
        for image in part.images:
            width, height = (1, 1) if sizes is None else sizes.get(image, (0, 0))
            built.image(image, width, height)
            path = labels[image]
            for number, text in lines_of(path) if path is not None else ():
                assert path is not None
                try:
                    label, box = parse_line(text, len(self._names))
                except ValueError as error:
                    cases.add(path, str(error), number)
                    continue
                if width and height:
                    left, top, right, bottom = box
                    place = f"{shown(path, self.root)}:{number}"
                    scaled = (left * width, top * height, (right - left) * width, (bottom - top) * height)
                    built.box(label, *scaled, place)
        cases.stop()
        return built.done()

    def _check_files(self, labels: Mapping[Path, Path | None], cases: Cases) -> None:
        """Two images that share a label file, and label files without an image."""
        owners: dict[Path, list[Path]] = defaultdict(list)
        for image, path in labels.items():
            if path is not None:
                owners[path].append(image)
        for path, images in owners.items():
            if len(images) > 1:
                cases.add(path, f"is the label file of {len(images)} images ({some(i.name for i in images)}); "
                                "rename all but one")  # fmt: skip
        folders: dict[Path, set[Path]] = defaultdict(set)
        for path, images in owners.items():
            folders[path.parent] |= {image.parent for image in images}
        for folder, beside in sorted(folders.items()):
            stems = {image.stem for place in beside for image in list_images(place)}
            for path in sorted(visible(folder, (".txt",))):
                if path.stem not in stems and path.name.lower() != CLASSES and _has_boxes(path):
                    cases.add(path, "there is no image for these labels")

    # --- where the images are ----------------------------------------------------------------------------------

    def _from_yaml(self, path: Path) -> dict[str, tuple[Path, list[Path], list[Path]]]:
        content = _load_yaml(path)
        keys = {TRAIN: TRAIN} if content.get("train") else {}
        if val := next((key for key in _VAL_NAMES if content.get(key)), None):
            keys[VAL] = val
            if val == "test":
                self.notes.append(f"{path.name} has no val; test is scored on")
        if not keys:
            raise DataError(f"{path} names no images; give the folders as train and val")
        return {split: self._split_of(path, content, key) for split, key in keys.items()}

    def _split_of(self, path: Path, content: Mapping[str, Any], key: str) -> tuple[Path, list[Path], list[Path]]:
        values = content[key] if isinstance(content[key], list) else [content[key]]
        folders: list[Path] = []
        images: list[Path] = []
        lists: list[Path] = []
        for value in values:
            place = locate(str(value), path.parent, str(content.get("path") or ""))
            if place is None:
                raise DataError(f"{path}: {key} names {value}, which is neither there nor below {path.parent}; "
                                "correct the path")  # fmt: skip
            if place.is_dir():
                found = list_images(place)
                folders.append(place)
            else:
                found = listed_images(place, path.parent)
                lists.append(place)
                folders += sorted({image.parent for image in found})
            if not found:
                raise DataError(f"{path}: {key} names {value}, and there is no image in {place}; correct the path")
            images += found
        return common_folder(folders), sorted(dict.fromkeys(images), key=Path.as_posix), lists

    def _from_folders(self) -> dict[str, tuple[Path, list[Path], list[Path]]]:
        """``images/train`` or ``train/images``; else all images as one split."""
        for pattern in ("images/{}", "{}/images", "{}"):
            train = self.root / pattern.format(TRAIN)
            vals = [self.root / pattern.format(name) for name in _VAL_NAMES]
            val = next((folder for folder in vals if folder.is_dir()), None)
            parts = {TRAIN: train if train.is_dir() else None, VAL: val}
            found = {split: (folder, list_images(folder)) for split, folder in parts.items() if folder is not None}
            if any(images for _, images in found.values()):
                return {split: (folder, images, []) for split, (folder, images) in found.items() if images}
        folder = self.root / "images" if (self.root / "images").is_dir() else self.root
        images = list_images(folder)
        if not images:
            raise DataError(f"{folder} holds no images; put them there, or name their folders in data.yaml")
        return {TRAIN: (folder, images, [])}


def parse_line(text: str, classes: int) -> tuple[int, tuple[float, float, float, float]]:
    """Class index and left, top, right, bottom (in shares of the image) of one line.

    Args:
        classes: how many classes there are.

    Raises:
        ValueError: what is wrong with the line.
    """
    parts = text.split()
    polygon = len(parts) >= 7 and len(parts) % 2 == 1
    if len(parts) != 5 and not polygon:
        raise ValueError(f"5 numbers expected, got {len(parts)}")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        wrong = next(part for part in parts if not _is_number(part))
        raise ValueError(f"{wrong[:20]!r} is no number") from None
    label, values = numbers[0], numbers[1:]
    if not label.is_integer() or not 0 <= label < classes:
        raise ValueError(f"class {parts[0]} is none of the {classes} classes (0 to {classes - 1})")
    low, high = -TOLERANCE, 1 + TOLERANCE
    if outside := [part for part, v in zip(parts[1:], values, strict=True) if not low <= v <= high]:
        raise ValueError(f"{', '.join(outside[:4])} outside 0..1; give shares of the image's width and height")
    if polygon:
        xs, ys = values[0::2], values[1::2]
        return int(label), (min(xs), min(ys), max(xs), max(ys))
    x, y, width, height = values
    return int(label), (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml_text.parse(read_text(path))
    except yaml_text.Malformed as error:
        line = "" if error.line is None else f":{error.line}"
        raise DataError(f"{path}{line}: no valid YAML ({error.problem}); correct it") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is no mapping of names, train and val; see Ultralytics' data sets")
    return content


def _yaml_names(path: Path) -> list[str]:
    content = _load_yaml(path)
    names = content.get("names")
    if isinstance(names, dict):
        try:
            by_index = {int(key): str(name) for key, name in names.items()}
        except (TypeError, ValueError):
            raise DataError(f"{path}: names has keys that are no class index; write 0: NAME, 1: NAME, ...") from None
        if sorted(by_index) != list(range(len(names))):
            raise DataError(f"{path}: names has the indices {some(sorted(by_index))}; number them 0, 1, 2, ...")
        found = [by_index[i] for i in range(len(by_index))]
    elif isinstance(names, list):
        found = [str(name) for name in names]
    else:
        raise DataError(f"{path} has no names; list the classes in the order of class index")
    check_names(found, path)
    count = content.get("nc")
    if isinstance(count, int) and count != len(found):
        raise DataError(f"{path}: nc is {count}, and names lists {len(found)} classes; correct one of them")
    return found


def _read_classes(root: Path) -> list[str]:
    path = _classes_file(root)
    if path is None:
        raise DataError(f"{root} looks like YOLO and names no classes; write data.yaml with names, train and val, or "
                        f"{CLASSES} with a name a line")  # fmt: skip
    return read_names(path)


def _classes_file(root: Path) -> Path | None:
    places = (root / CLASSES, root / "labels" / CLASSES)
    return next((path for path in places if path.is_file()), None)


def _has_label_files(folder: Path) -> bool:
    """Whether there are text files beside classes.txt, at most two folders down."""
    patterns = ("*.txt", "*/*.txt", "*/*/*.txt")
    return any(p.name.lower() != CLASSES for pattern in patterns for p in folder.glob(pattern))


def _has_boxes(path: Path) -> bool:
    """Whether a text file without an image has labels; it may be a list of images or a note as well."""
    first = next((text for _, text in lines_of(path)), "").split()
    return len(first) >= 5 and all(_is_number(part) for part in first)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
