"""COCO JSON: Roboflow's layout (a file in each split's folder), and one labelled folder that is to be divided."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stages.data.formats.source import TRAIN, VAL, Source, Split
from stages.detection.coco import CocoSet, check_coco, load_coco, read_coco
from stages.detection.coco_parts import named_images
from stages.detection.images import list_images
from stages.errors import DataError

FILE = "_annotations.coco.json"
_FOLDERS = {TRAIN: ("train",), VAL: ("valid", "val", "test")}


def fits(root: Path) -> str | None:
    """What shows ``root`` to be Roboflow's; ``None`` if nothing does."""
    names = [name for names in _FOLDERS.values() for name in names]
    return next((f"{name}/{FILE}" for name in names if (root / name / FILE).is_file()), None)


class CocoSource(Source):
    """One COCO file and its images: what ``data.val_fraction`` divides."""

    title: ClassVar[str] = "COCO"

    def __init__(self, annotations: Path, images: Path) -> None:
        super().__init__(images)
        self._files = {TRAIN: annotations}
        self._sets: dict[str, CocoSet] = {}
        self.splits[TRAIN] = Split(images, list_images(images), [annotations])

    def named_files(self, split: str) -> list[Path]:
        """None: the images were found by looking, and those that the labels name are looked at when they are read."""
        return []

    def categories(self, split: str) -> list[dict[str, Any]]:
        """In the order of the file."""
        return self._read(split).categories

    def read(
        self, split: str, sizes: Mapping[Path, tuple[int, int]] | None = None, *, scored: bool | None = None
    ) -> CocoSet:
        """The checked file."""
        return self._read(split)

    def opened(self, split: str) -> list[Path]:
        """Those of the file, whatever else lies in the folder."""
        return named_images(self._files[split], self.splits[split].root)

    def _read(self, split: str) -> CocoSet:
        if split not in self._sets:
            self._sets[split] = read_coco(self._files[split])
        return self._sets[split]


class RoboflowSource(CocoSource):
    """``train/_annotations.coco.json``, ``valid/_annotations.coco.json``, each beside its images.

    Roboflow writes a category of id 0 that groups the others and has no box; it is no class.
    """

    title: ClassVar[str] = "Roboflow COCO"

    def __init__(self, root: Path) -> None:
        Source.__init__(self, root)
        self._sets = {}
        self._files = {}
        for split, names in _FOLDERS.items():
            name = next((name for name in names if (root / name / FILE).is_file()), None)
            if name is None:
                continue
            if name == "test":
                self.notes.append("there is no valid/; test/ is scored on")
            self._files[split] = root / name / FILE
            self.splits[split] = Split(root / name, list_images(root / name), [root / name / FILE])
        if not self.splits:
            raise DataError(f"{root} has no train/{FILE}; give the folder that Roboflow's zip unpacks to")

    def _read(self, split: str) -> CocoSet:
        if not self._sets:
            contents = {name: load_coco(path) for name, path in self._files.items()}
            if all(map(_has_group, contents.values())):  # in one file alone it would be a class of the other
                for content in contents.values():
                    content["categories"] = [c for c in content["categories"] if c.get("id") != 0]
            self._sets = {name: check_coco(content, self._files[name]) for name, content in contents.items()}
        return self._sets[split]


def _has_group(content: dict[str, Any]) -> bool:
    """Whether the category of id 0 is Roboflow's group of the others, and no box is of it."""
    categories = content["categories"]
    first = next((c for c in categories if c.get("id") == 0), None)
    if first is None or len(categories) < 2 or str(first.get("supercategory")).lower() != "none":
        return False
    return all(a.get("category_id") != 0 for a in content["annotations"])
