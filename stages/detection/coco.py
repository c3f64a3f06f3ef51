"""COCO-format labels: read, checked, and put in order.

What is wrong beyond repair is an error that shows the first few cases. What can be put right without guessing is put
right, counted, and said: boxes without area are dropped, ids that pycocotools cannot work with are given anew.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.detection import coco_values as values
from stages.detection.classes import listed, match_classes
from stages.detection.coco_parts import list_alone
from stages.errors import DataError
from stages.outside import files, names

SHOWN = 5  # how many cases an error message shows
LARGEST = 16 << 30  # bytes of a label file

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
            Ids that are text or too large for other tools are given anew, in the order of the file. `names.OUTSIDE`
            stays where a conversion wrote it.
        annotations: ``{"id", "image_id", "category_id", "bbox": [x, y, w, h], "area", "iscrowd"}`` each, in pixels.
        categories: ``{"id", "name"}`` each, in the order of the file: class index ``i`` of a model that PaddleDetection
            trains on this file is ``categories[i]``.
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

    def class_index(self, labels: Sequence[str]) -> dict[int, int]:
        """Category id -> class index of a model that calls its classes ``labels``; without those it does not have.

        Raises:
            DataError: the classes do not match (`stages/detection/classes.py`).
        """
        matched = match_classes(labels, self.categories)
        return {category: i for i, category in enumerate(matched.categories) if category is not None}

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
    return listed([str(case) for case in cases], SHOWN)


def read_labels(path: Path) -> list[str]:
    """Class names of a COCO JSON file, in its order, which is the order of a model's classes.

    Raises:
        DataError: no COCO file, or no usable categories.
    """
    return [str(c["name"]) for c in read_categories(path)]


def read_categories(path: Path) -> list[dict[str, Any]]:
    """``{"id", "name"}`` of each category of a COCO JSON file, in its order; errors as of `read_labels`.

    Of a large file only the list of categories is read.
    """
    entries = list_alone(path, "categories")
    return _categories({"categories": entries} if entries is not None else load_coco(path), path, [])


def read_coco(path: Path) -> CocoSet:
    """Read and check a COCO JSON file (the images themselves are not looked at).

    Raises:
        DataError: no COCO file, or entries that contradict each other or are incomplete.
    """
    return check_coco(load_coco(path), path)


def check_coco(content: dict[str, Any], path: Path) -> CocoSet:
    """What `load_coco` gave, checked; ``path`` names the file in messages, and errors are those of `read_coco`."""
    warnings: list[str] = []
    categories = _categories(content, path, warnings)
    images, image_ids = _images(content, path, warnings)
    annotations = _annotations(content, path, image_ids, categories, warnings)
    return CocoSet(images, annotations, categories, [f"{path}: {w}" for w in warnings])


def load_coco(path: Path) -> dict[str, Any]:
    """The content of a COCO JSON file, with the lists ``images``, ``annotations`` and ``categories`` of objects.

    Raises:
        DataError: no such file.
    """
    try:
        content = json.loads(files.read_bytes(path, LARGEST))
    except OSError as error:
        raise DataError(f"labels {path} cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DataError(f"labels {path} are not valid JSON ({reason}); export them again as COCO JSON") from error
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


def _repeated(values: Iterable[Any]) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]


def _categories(content: dict[str, Any], path: Path, warnings: list[str]) -> list[dict[str, Any]]:
    entries = content["categories"]
    if not entries:
        raise DataError(f"labels {path} name no category; add them under `categories`")
    if bad := [c for c in entries if _category_id(c) is None or not isinstance(c.get("name"), str)]:
        raise DataError(f"labels {path}: categories without a whole-number id and a name: {some(bad)}; add them")
    entries = [{"id": _category_id(c), "name": c["name"]} for c in entries]
    if twice := _repeated(c["id"] for c in entries):
        raise DataError(f"labels {path}: category ids given twice: {some(twice)}; give each category an id of its own")
    if alike := _repeated(c["name"] for c in entries):
        warnings.append(f"categories of the same name: {some(alike)}; they are told apart by their id")
        for category in entries:
            if category["name"] in alike:
                category["name"] = f"{category['name']} ({category['id']})"
    return entries


def _category_id(entry: dict[str, Any]) -> int | None:
    number = values.whole_number(entry.get("id"))
    return number if values.is_safe(number) else None


def _images(content: dict[str, Any], path: Path, warnings: list[str]) -> tuple[list[dict[str, Any]], dict[Any, int]]:
    """The images, and each id as the file has it -> the id that it gets."""
    entries = content["images"]
    if not entries:
        raise DataError(f"labels {path} list no image; add them under `images`")
    keys = [values.image_key(i.get("id")) for i in entries]
    given = [i.get("file_name") for i in entries]
    unnamed = [key is None or not name or not isinstance(name, str) for key, name in zip(keys, given, strict=True)]
    if bad := [entry for entry, lacks in zip(entries, unnamed, strict=True) if lacks]:
        raise DataError(f"labels {path}: images without an id and a file_name: {some(bad)}; add them")
    for what, of_all in (("id", keys), ("file_name", given)):
        if twice := _repeated(of_all):
            raise DataError(f"labels {path}: images with the same {what}: {some(twice)}; remove the duplicates")
    ids: dict[Any, int]
    if all(values.is_safe(key) for key in keys):
        ids = {key: int(key) for key in keys if key is not None}
    else:
        warnings.append("image ids that are text or too large for other tools; all images were numbered anew")
        ids = {key: number for number, key in enumerate(keys, start=1)}
    images = [
        {
            "id": ids[key],
            "file_name": i["file_name"],
            "width": values.pixels(i.get("width")),
            "height": values.pixels(i.get("height")),
            **({names.OUTSIDE: True} if i.get(names.OUTSIDE) is True else {}),
        }
        for i, key in zip(entries, keys, strict=True)
    ]
    return sorted(images, key=lambda i: int(i["id"])), ids


def _annotations(
    content: dict[str, Any],
    path: Path,
    image_ids: dict[Any, int],
    categories: list[dict[str, Any]],
    warnings: list[str],
) -> list[dict[str, Any]]:
    category_ids = {c["id"] for c in categories}
    problems: dict[str, list[object]] = {}
    kept: list[dict[str, Any]] = []
    degenerate: list[object] = []
    for number, entry in enumerate(content["annotations"]):
        name = entry.get("id", f"number {number}")
        box, crowd = values.box(entry.get("bbox")), values.flag(entry.get("iscrowd"))
        image, category = values.image_key(entry.get("image_id")), values.whole_number(entry.get("category_id"))
        if image not in image_ids:
            problems.setdefault("of unknown images", []).append(f"{name} (image_id {entry.get('image_id')!r})")
        elif category not in category_ids:
            problems.setdefault("of unknown categories", []).append(
                f"{name} (category_id {entry.get('category_id')!r})"
            )
        elif box is None:
            problems.setdefault("without a bbox of four numbers", []).append(name)
        elif crowd is None:
            problems.setdefault("with an iscrowd that is neither 0 nor 1", []).append(
                f"{name} (iscrowd {entry['iscrowd']!r})"
            )
        elif box[2] <= 0 or box[3] <= 0:
            degenerate.append(name)
        else:
            kept.append(
                {
                    "id": values.whole_number(entry.get("id")),
                    "image_id": image_ids[image],
                    "category_id": category,
                    "bbox": box,
                    "area": values.area(entry.get("area")) or box[2] * box[3],
                    "iscrowd": crowd,
                }
            )
    if problems:
        cases = "; ".join(f"annotations {what}: {some(which)}" for what, which in problems.items())
        raise DataError(f"labels {path}: {cases}; correct or remove them")
    if degenerate:
        warnings.append(f"{len(degenerate)} boxes without width or height were left out: {some(degenerate)}")
    ids = [a["id"] for a in kept]
    # pycocotools marks a match by the annotation's id, so that one with id 0 would never count as found.
    if not all(values.is_safe(i) and i != 0 for i in ids) or len(set(ids)) != len(ids):
        warnings.append("annotation ids that are missing, 0, too large or given twice; all were numbered anew")
        for number, annotation in enumerate(kept, start=1):
            annotation["id"] = number
    return kept
