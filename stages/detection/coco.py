"""COCO-format labels: read, checked, and put in order.

What is wrong beyond repair is an error that shows the first few cases. What can be put right without guessing is put
right, counted, and said: boxes without area are dropped, ids that pycocotools cannot work with are given anew.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.errors import DataError

SHOWN = 5  # how many cases an error message shows

_COCO_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag,
tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard,
tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote,
keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear,
hair drier, toothbrush
"""
COCO_LABELS: tuple[str, ...] = tuple(" ".join(name.split()) for name in _COCO_NAMES.split(","))
"""The 80 classes of COCO 2017 in order of category id: what a model trained on it detects."""


@dataclass(frozen=True)
class CocoSet:
    """Checked labels.

    Attributes:
        images: ``{"id", "file_name", "width", "height"}`` each, in order of id; width and height are 0 if not stated.
        annotations: ``{"id", "image_id", "category_id", "bbox": [x, y, w, h], "area", "iscrowd"}`` each, in pixels.
        categories: ``{"id", "name"}`` each, in order of id: class index ``i`` of a model is ``categories[i]``.
        warnings: what was put right, in words.
    """

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    warnings: list[str] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        """Class names in the order of class index."""
        return [c["name"] for c in self.categories]

    @property
    def category_ids(self) -> list[int]:
        """Class index -> category id."""
        return [c["id"] for c in self.categories]

    @property
    def class_index(self) -> dict[int, int]:
        """Category id -> class index."""
        return {c["id"]: i for i, c in enumerate(self.categories)}

    def subset(self, images: list[dict[str, Any]]) -> CocoSet:
        """The same labels for some of the images."""
        ids = {image["id"] for image in images}
        kept = [a for a in self.annotations if a["image_id"] in ids]
        return CocoSet(images, kept, self.categories, self.warnings)

    def as_dict(self) -> dict[str, Any]:
        """The content of a COCO JSON file."""
        return {"images": self.images, "annotations": self.annotations, "categories": self.categories}


def some(cases: Iterable[object]) -> str:
    """The first few cases, and how many more there are."""
    listed = [str(c) for c in cases]
    more = len(listed) - SHOWN
    return ", ".join(listed[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def read_labels(path: Path) -> list[str]:
    """Class names of a COCO JSON file, in order of category id.

    Raises:
        DataError: no COCO file, or no usable categories.
    """
    labels = _categories(_load(path), path, [])
    return [c["name"] for c in labels]


def read_coco(path: Path) -> CocoSet:
    """Read and check a COCO JSON file (the images themselves are not looked at).

    Raises:
        DataError: no COCO file, or entries that contradict each other or are incomplete.
    """
    content = _load(path)
    warnings: list[str] = []
    categories = _categories(content, path, warnings)
    images = _images(content, path)
    annotations = _annotations(content, path, images, categories, warnings)
    return CocoSet(images, annotations, categories, [f"{path}: {w}" for w in warnings])


def missing_files(images: list[dict[str, Any]], root: Path) -> list[str]:
    """File names of images that are not under ``root``."""
    return [image["file_name"] for image in images if not (root / image["file_name"]).is_file()]


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"labels {path} cannot be read ({error.strerror}); check the path") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"labels {path} are not valid JSON ({error}); export them again as COCO JSON") from error
    if not isinstance(content, dict):
        raise DataError(f"labels {path} hold a {type(content).__name__}, not COCO's object with images, annotations "
                        "and categories; export them again as COCO JSON (a detections file is not enough)")  # fmt: skip
    wrong = [k for k in ("images", "annotations", "categories") if not isinstance(content.get(k), list)]
    if wrong:
        raise DataError(f"labels {path} have no list {', '.join(wrong)}; export them again as COCO JSON")
    for key in ("images", "annotations", "categories"):
        if not all(isinstance(entry, dict) for entry in content[key]):
            raise DataError(f"labels {path}: {key} has entries that are no objects; export them again as COCO JSON")
    return content


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _repeated(values: Iterable[Any]) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]


def _categories(content: dict[str, Any], path: Path, warnings: list[str]) -> list[dict[str, Any]]:
    entries = content["categories"]
    if not entries:
        raise DataError(f"labels {path} name no category; add them under `categories`")
    if bad := [c for c in entries if not _is_id(c.get("id")) or not isinstance(c.get("name"), str)]:
        raise DataError(f"labels {path}: categories without a whole-number id and a name: {some(bad)}; add them")
    if twice := _repeated(c["id"] for c in entries):
        raise DataError(f"labels {path}: category ids given twice: {some(twice)}; give each category an id of its own")
    ordered = sorted(({"id": c["id"], "name": c["name"]} for c in entries), key=lambda c: int(c["id"]))
    if names := _repeated(c["name"] for c in ordered):
        warnings.append(f"categories of the same name: {some(names)}; they are told apart by their id")
        for category in ordered:
            if category["name"] in names:
                category["name"] = f"{category['name']} ({category['id']})"
    return ordered


def _images(content: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    entries = content["images"]
    if not entries:
        raise DataError(f"labels {path} list no image; add them under `images`")
    if bad := [
        i for i in entries if not _is_id(i.get("id")) or not i.get("file_name") or not isinstance(i["file_name"], str)
    ]:
        raise DataError(f"labels {path}: images without a whole-number id and a file_name: {some(bad)}; add them")
    for key in ("id", "file_name"):
        if twice := _repeated(i[key] for i in entries):
            raise DataError(f"labels {path}: images with the same {key}: {some(twice)}; remove the duplicates")
    images = [
        {
            "id": i["id"],
            "file_name": i["file_name"],
            "width": _pixels(i.get("width")),
            "height": _pixels(i.get("height")),
        }
        for i in entries
    ]
    return sorted(images, key=lambda i: int(i["id"]))


def _annotations(
    content: dict[str, Any],
    path: Path,
    images: list[dict[str, Any]],
    categories: list[dict[str, Any]],
    warnings: list[str],
) -> list[dict[str, Any]]:
    image_ids, category_ids = {i["id"] for i in images}, {c["id"] for c in categories}
    problems: dict[str, list[object]] = {}
    kept: list[dict[str, Any]] = []
    degenerate: list[object] = []
    for number, entry in enumerate(content["annotations"]):
        name = entry.get("id", f"number {number}")
        box = _box(entry.get("bbox"))
        if not _is_id(entry.get("image_id")) or entry["image_id"] not in image_ids:
            problems.setdefault("of unknown images", []).append(f"{name} (image_id {entry.get('image_id')!r})")
        elif not _is_id(entry.get("category_id")) or entry["category_id"] not in category_ids:
            problems.setdefault("of unknown categories", []).append(
                f"{name} (category_id {entry.get('category_id')!r})"
            )
        elif box is None:
            problems.setdefault("without a bbox of four numbers", []).append(name)
        elif box[2] <= 0 or box[3] <= 0:
            degenerate.append(name)
        else:
            area = entry.get("area")
            kept.append(
                {
                    "id": entry.get("id"),
                    "image_id": entry["image_id"],
                    "category_id": entry["category_id"],
                    "bbox": box,
                    "area": float(area) if isinstance(area, (int, float)) and area > 0 else box[2] * box[3],
                    "iscrowd": 1 if entry.get("iscrowd") else 0,
                }
            )
    if problems:
        told = "; ".join(f"annotations {what}: {some(cases)}" for what, cases in problems.items())
        raise DataError(f"labels {path}: {told}; correct or remove them")
    if degenerate:
        warnings.append(f"{len(degenerate)} boxes without width or height were left out: {some(degenerate)}")
    ids = [a["id"] for a in kept]
    # pycocotools marks a match by the annotation's id, so that one with id 0 would never count as found.
    if not all(_is_id(i) and i != 0 for i in ids) or len(set(ids)) != len(ids):
        warnings.append("annotation ids that are missing, 0 or given twice; all were numbered anew")
        for number, annotation in enumerate(kept, start=1):
            annotation["id"] = number
    return kept


def _pixels(value: object) -> int:
    """A stated width or height; 0 if there is none."""
    return int(value) if isinstance(value, (int, float)) and value > 0 else 0


def _box(value: object) -> list[float] | None:
    """x, y, width, height as floats; ``None`` if it is anything else."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in value):
        return None
    return [float(v) for v in value]
