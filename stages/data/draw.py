"""Stage ``draw``: the demo's data set, drawn from a seed, so that the demo needs no network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from stages.artifacts import DrawnSet, hash_files
from stages.contract import StageContext
from stages.detection.shapes import LABELS, Box, draw_image
from stages.errors import StageError
from stages.options.check import require_valid
from stages.options.data import ShapesOptions

JPEG_QUALITY = 92


class Draw:
    """Draws ``train``, ``unlabeled`` and ``val``; the first and last with labels in COCO's form.

    ``options.seed`` alone decides the pictures: another ``seed`` of the run does not change the data set.
    """

    name: ClassVar[str] = "draw"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("numpy", "opencv-python-headless")
    Options: ClassVar[type] = ShapesOptions
    Output: ClassVar[type[DrawnSet]] = DrawnSet

    @dataclass(frozen=True)
    class Inputs:
        """Nothing: the pictures come from the seed."""

    def __init__(self, options: ShapesOptions) -> None:
        self.options = options

    def run(self, inputs: Inputs, context: StageContext) -> DrawnSet:
        """Draw the splits into ``context.out``."""
        o = self.options
        counts = {"train": o.train, "unlabeled": o.unlabeled, "val": o.val}
        require_valid(o, "data.shapes")
        done = 0
        for split, count in counts.items():
            folder = context.out / split
            folder.mkdir()
            boxes: list[list[Box]] = []
            for number in range(count):
                boxes.append(self._write(split, number, folder))
                done += 1
                if done % 50 == 0:
                    context.progress(done, sum(counts.values()))
            if split != "unlabeled":
                text = json.dumps(_coco(boxes, *o.size), indent=None, separators=(",", ":"))
                (context.out / f"{split}.json").write_text(text, encoding="utf-8")
        context.progress(done, done)
        return DrawnSet(root=context.out, files=hash_files(context.out))

    def _write(self, split: str, number: int, folder: Path) -> list[Box]:
        import cv2

        image, boxes = draw_image(self.options.seed, split, number, *self.options.size)
        path = folder / _file_name(number)
        if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
            raise StageError(f"could not write {path}; check the free space and the permissions of that folder")
        return boxes


def _file_name(number: int) -> str:
    return f"shapes_{number:05d}.jpg"


def _coco(boxes: list[list[Box]], height: int, width: int) -> dict[str, Any]:
    """COCO's form of the boxes; image and category ids count from 1, as usual there."""
    annotations: list[dict[str, Any]] = []
    for number, of_image in enumerate(boxes):
        for box in of_image:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": box.label + 1,
                    "bbox": [box.x, box.y, box.width, box.height],
                    "area": box.width * box.height,
                    "iscrowd": 0,
                }
            )
    return {
        "images": [
            {"id": n + 1, "file_name": _file_name(n), "height": height, "width": width} for n in range(len(boxes))
        ],
        "annotations": annotations,
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(LABELS)],
    }
