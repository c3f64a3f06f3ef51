"""A COCO folder (``train.json``, ``train/``, ``val.json``, ``val/``) written in the layouts that others use."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SPLITS = ("train", "val")


def picture(path: Path, seed: int, width: int = 40, height: int = 20) -> Path:
    """A small random image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    done, data = cv2.imencode(".png", pixels)  # imwrite chooses by the name, which may be anything here
    assert done
    path.write_bytes(data.tobytes())
    return path


def coco_folder(root: Path, count: int = 3) -> Path:
    """Random images with two boxes each; the last of a split has none."""
    for at, split in enumerate(SPLITS):
        images: list[dict[str, Any]] = []
        boxes: list[dict[str, Any]] = []
        for i in range(count):
            name = f"{split}_{i}.png"
            picture(root / split / name, 100 * at + i)
            images.append({"id": i + 1, "file_name": name, "width": 40, "height": 20})
            for k in range(2 if i < count - 1 else 0):
                box = [3 + i, 2 + k, 11 + 2 * k, 7]
                boxes.append(
                    {"id": len(boxes) + 1, "image_id": i + 1, "category_id": 1 + k, "bbox": box, "iscrowd": 0}
                    | {"area": box[2] * box[3]}
                )
        categories = [{"id": 1, "name": "b"}, {"id": 2, "name": "a"}]
        content = {"images": images, "annotations": boxes, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(content))
    return root


def labelled(coco: Path, split: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each image of a split with its annotations."""
    content = json.loads((coco / f"{split}.json").read_text())
    of = defaultdict(list)
    for annotation in content["annotations"]:
        of[annotation["image_id"]].append(annotation)
    for image in content["images"]:
        yield image, of[image["id"]]


def names(coco: Path) -> list[str]:
    """Class names in order; the writers expect ids 1, 2, ..."""
    content = json.loads((coco / "train.json").read_text())
    return [c["name"] for c in content["categories"]]


def as_yolo(coco: Path, root: Path) -> Path:
    """``images/SPLIT``, ``labels/SPLIT`` and ``data.yaml``; numbers with all their digits."""
    for split in SPLITS:
        shutil.copytree(coco / split, root / "images" / split)
        (root / "labels" / split).mkdir(parents=True)
        for image, boxes in labelled(coco, split):
            lines = []
            for a in boxes:
                x, y, w, h = a["bbox"]
                across, down = image["width"], image["height"]
                values = [(x + w / 2) / across, (y + h / 2) / down, w / across, h / down]
                lines.append(" ".join([str(a["category_id"] - 1), *map(repr, values)]))
            if lines:
                file = root / "labels" / split / Path(image["file_name"]).with_suffix(".txt")
                file.write_text("\n".join(lines) + "\n")
    text = f"path: {root}\ntrain: images/train\nval: images/val\nnames: {json.dumps(names(coco))}\n"
    (root / "data.yaml").write_text(text)
    return root


def as_voc(coco: Path, root: Path) -> Path:
    """``Annotations``, ``JPEGImages``, ``ImageSets/Main`` and PaddleDetection's ``label_list.txt``."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    classes = names(coco)
    for split in SPLITS:
        stems = []
        for image, boxes in labelled(coco, split):
            stem = Path(image["file_name"]).stem
            stems.append(stem)
            shutil.copy(coco / split / image["file_name"], root / "JPEGImages")
            objects = [voc_object(classes[a["category_id"] - 1], *_corners(a["bbox"])) for a in boxes]
            voc_xml(root / "Annotations" / f"{stem}.xml", image["width"], image["height"], objects)
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(stems) + "\n")
    (root / "label_list.txt").write_text("\n".join(classes) + "\n")
    return root


def _corners(box: list[float]) -> tuple[float, float, float, float]:
    x, y, w, h = box
    return x + 1, y + 1, x + w, y + h


def voc_object(name: str, xmin: float, ymin: float, xmax: float, ymax: float, difficult: str = "0") -> str:
    """An ``<object>`` on one line."""
    corners = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>"


def voc_xml(path: Path, width: int, height: int, objects: list[str]) -> Path:
    """An annotation file; the first object is on line 3."""
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    path.write_text("\n".join(["<annotation>", size, *objects, "</annotation>"]) + "\n", encoding="utf-8")
    return path


def as_roboflow(coco: Path, root: Path) -> Path:
    """``train`` and ``valid``, each with its file, and the category of id 0 that groups the others."""
    for split, folder in zip(SPLITS, ("train", "valid"), strict=True):
        shutil.copytree(coco / split, root / folder)
        content = json.loads((coco / f"{split}.json").read_text())
        content["categories"] = [
            {"id": 0, "name": "things", "supercategory": "none"},
            *({**c, "supercategory": "things"} for c in content["categories"]),
        ]
        (root / folder / "_annotations.coco.json").write_text(json.dumps(content))
    return root
