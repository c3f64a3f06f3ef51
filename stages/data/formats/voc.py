"""Pascal VOC: an XML file an image under ``Annotations``, images in ``JPEGImages``, splits in ``ImageSets/Main``.

PaddleDetection's and PaddleX's lists (``trainval.txt``, ``train_list.txt`` with ``IMAGE XML`` a line) are read as well.

Boxes: VOC counts pixels from 1 and its corners belong to the box, so that ``xmin..xmax`` is ``x = xmin - 1``,
``width = xmax - xmin + 1`` in COCO, as the development kit means it.

``difficult``: PaddleDetection trains on such boxes as on others, and its VOC metric leaves them out (neither missing
one nor finding it counts). So they are plain boxes in the training split, and ``iscrowd: 1`` in the validation split,
where COCO's metric treats them so.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stages.data.formats import voc_xml
from stages.data.formats.source import (
    TRAIN,
    VAL,
    Cases,
    CocoBuilder,
    Source,
    Split,
    as_categories,
    lines_of,
    read_names,
    shown,
)
from stages.detection.coco import CocoSet, some
from stages.detection.images import SUFFIXES
from stages.errors import DataError
from stages.outside import files
from stages.outside import names as outside

NAMES = ("label_list.txt", "labels.txt")  # PaddleDetection's, PaddleX's
_PAIRS = (("train", "val"), ("trainval", "test"), ("train", "test"), ("trainval", "val"))
"""Lists that are training and validation, best first."""


def fits(root: Path) -> str | None:
    """What shows ``root`` to be VOC; ``None`` if nothing does."""
    folder = root / "Annotations"
    if folder.is_dir() and next(folder.glob("*.[xX][mM][lL]"), None) is not None:
        return "Annotations/*.xml"
    return next((path.name for path in _lists(root).values() if _lists_pairs(path)), None)


class VocSource(Source):
    """A VOC data set under ``root``."""

    title: ClassVar[str] = "Pascal VOC"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._label_list = next((root / name for name in NAMES if (root / name).is_file()), None)
        self._pairs: dict[str, list[tuple[Path, Path]]] = {}
        self._roots: dict[Path, ET.Element] = {}
        self._known: list[str] | None = None
        cases = Cases(root)
        for split, path in self._chosen().items():
            pairs = self._listed(path, cases) if path is not None else self._all(cases)
            self._pairs[split] = pairs
            more = [file for file in (path, self._label_list) if file is not None]
            self.splits[split] = Split(_root_of(pairs, root), [i for i, _ in pairs], [*more, *(x for _, x in pairs)])
        cases.stop()

    def categories(self, split: str) -> list[dict[str, Any]]:
        """In the order of label_list.txt, as PaddleDetection numbers them; without it, by the alphabet."""
        return as_categories(self._names())

    def read(
        self, split: str, sizes: Mapping[Path, tuple[int, int]] | None = None, *, scored: bool | None = None
    ) -> CocoSet:
        """The boxes of a split; see `Source.read`."""
        names, cases = self._names(), Cases(self.root)
        built = CocoBuilder(self.splits[split], names)
        index = {name: i for i, name in enumerate(names)}
        cut: list[str] = []
        for image, path in self._pairs[split]:
            try:
                annotation, lines = self._parse(path), voc_xml.object_lines(path)
            except DataError as error:
                cases.add(path, str(error))
                continue
            width, height = (voc_xml.size(annotation, side) for side in ("width", "height"))
            built.image(image, width, height)
            for number, entry in enumerate(annotation.findall("object")):
                line = lines[number] if number < len(lines) else None
                try:
                    name, corners = voc_xml.class_name(entry), voc_xml.box(entry)
                    if name not in index:
                        listed = self._label_list.name if self._label_list else "the list of classes"
                        raise ValueError(f"class {name!r} is not in {listed}")
                    difficult = voc_xml.flag(entry) and (split == VAL if scored is None else scored)
                except ValueError as error:
                    cases.add(path, str(error), line)
                    continue
                place = f"{shown(path, self.root)}:{line}"
                left, top, right, bottom = corners[0] - 1, corners[1] - 1, corners[2], corners[3]
                inside = (
                    max(left, 0.0),
                    max(top, 0.0),
                    min(right, width) if width else right,
                    min(bottom, height) if height else bottom,
                )
                if inside != (left, top, right, bottom):
                    cut.append(place)
                built.box(
                    index[name], inside[0], inside[1], inside[2] - inside[0], inside[3] - inside[1], place,
                    int(difficult),
                )  # fmt: skip
        cases.stop()
        if cut:
            built.warnings.append(f"{len(cut)} boxes reach beyond their image and were cut at its border: {some(cut)}")
        return built.done()

    def _names(self) -> list[str]:
        """Class names; read once."""
        if self._known is None:
            if self._label_list is not None:
                self._known = read_names(self._label_list)
            else:
                self._known = self._names_in_xml()
                self.notes.append("there is no label_list.txt, so the classes are in alphabetical order")
        return self._known

    def _names_in_xml(self) -> list[str]:
        found: set[str] = set()
        cases = Cases(self.root)
        for path in dict.fromkeys(xml for pairs in self._pairs.values() for _, xml in pairs):
            try:
                found |= {voc_xml.class_name(entry) for entry in self._parse(path).findall("object")}
            except (DataError, ValueError) as error:
                cases.add(path, str(error))
        cases.stop()
        if not found:
            raise DataError(f"no label under {self.root} has an object; name the classes in {NAMES[0]}, one a line")
        return sorted(found)

    def _parse(self, path: Path) -> ET.Element:
        """The XML of an image; kept, since names and boxes both need it."""
        if path not in self._roots:
            try:
                self._roots[path] = ET.fromstring(files.read_bytes(path))
            except ET.ParseError as error:
                raise DataError(f"no valid XML (line {error.position[0]}: {error})") from error
            except (LookupError, ValueError) as error:  # of the encoding that the file names
                raise DataError(f"no valid XML ({error}); save it as UTF-8") from error
            except OSError as error:
                raise DataError(f"cannot be read ({error.strerror})") from error
        return self._roots[path]

    # --- where the images are ----------------------------------------------------------------------------------

    def _chosen(self) -> dict[str, Path | None]:
        """Split -> the file that lists it; ``None``: all annotations."""
        lists = _lists(self.root)
        for train, val in _PAIRS:
            if train in lists and val in lists:
                if (train, val) != _PAIRS[0]:
                    self.notes.append(f"{train} is trained on and {val} is scored on")
                return {TRAIN: lists[train], VAL: lists[val]}
        for name, split in (("trainval", TRAIN), ("train", TRAIN), ("val", VAL), ("test", VAL)):
            if name in lists:
                return {split: lists[name]}
        return {TRAIN: None}

    def _listed(self, path: Path, cases: Cases) -> list[tuple[Path, Path]]:
        """The images of a list, each with its XML."""
        pairs: dict[Path, Path] = {}
        lines = list(lines_of(path))
        if not lines:
            cases.add(path, "lists no image")
        for number, text in lines:
            parts = text.replace("\\", "/").split()
            if len(parts) == 2 and parts[1].lower().endswith(".xml"):
                image: Path | None = outside.joined(self.root, parts[0])
                xml = outside.joined(self.root, parts[1])
            else:
                xml = self._xml_of(text.replace("\\", "/"))
                image = self._image_of(xml, cases)
            if not xml.is_file():
                cases.add(path, f"there is no {shown(xml, self.root)}", number)
            elif image is None or not image.is_file():
                cases.add(path, f"there is no image of {shown(xml, self.root)}", number)
            elif image in pairs:
                cases.add(path, f"{text} is listed twice", number)
            else:
                pairs[image] = xml
        return sorted(pairs.items())

    def _all(self, cases: Cases) -> list[tuple[Path, Path]]:
        folder = self.root / "Annotations"
        if not folder.is_dir():
            raise DataError(f"{self.root} has no folder Annotations; give the folder that has it beside JPEGImages")
        pairs = []
        for xml in sorted(p for p in folder.iterdir() if p.suffix.lower() == ".xml"):
            if xml.name.startswith("."):
                continue
            image = self._image_of(xml, cases)
            if image is None:
                cases.add(xml, "there is no image for these labels")
            else:
                pairs.append((image, xml))
        return sorted(pairs)

    def _xml_of(self, name: str) -> Path:
        # A name may have blanks, and the lists of single classes have -1, 0 or 1 behind it.
        stems = dict.fromkeys((name, re.sub(r"\s+-?[01]$", "", name), Path(name).stem))
        paths = [
            outside.joined(self.root / "Annotations", f"{stem}{end}") for stem in stems for end in (".xml", ".XML")
        ]
        return next((path for path in paths if path.is_file()), paths[0])

    def _image_of(self, xml: Path, cases: Cases) -> Path | None:
        """The image with the stem of an XML file, or else the one that the file names."""
        places = (self.root / "JPEGImages", self.root / "images")
        folder = next((place for place in places if place.is_dir()), self.root)
        found = self._stems(folder).get(xml.stem, [])
        if len(found) > 1:
            several = some(path.name for path in found)
            cases.add(xml, f"is the label file of {len(found)} images ({several}); rename all but one")
        if not found and xml.is_file():
            try:
                named = self._parse(xml).findtext("filename", "").strip()
            except DataError as error:
                cases.add(xml, str(error))
                named = ""
            place = outside.joined(folder, named)
            found = [place] if named and place.is_file() else []
        return found[0] if found else None

    def _stems(self, folder: Path) -> Mapping[str, list[Path]]:
        """Stem -> the images of a folder; listed once."""
        if self._images_in is None:
            self._images_in = {}
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                    self._images_in.setdefault(path.stem, []).append(path)
        return self._images_in

    _images_in: dict[str, list[Path]] | None = None


def _lists(root: Path) -> dict[str, Path]:
    """``train``, ``val``, ``trainval``, ``test`` -> the file that lists it."""
    found: dict[str, Path] = {}
    for name in ("train", "val", "trainval", "test"):
        for path in (root / f"{name}.txt", root / f"{name}_list.txt", root / "ImageSets" / "Main" / f"{name}.txt"):
            if path.is_file():
                found.setdefault(name, path)
    return found


def _lists_pairs(path: Path) -> bool:
    first = next((text for _, text in lines_of(path)), "").split()
    return len(first) == 2 and first[1].lower().endswith(".xml")


def _root_of(pairs: list[tuple[Path, Path]], root: Path) -> Path:
    """The folder of the images if it is one, else the data set's."""
    folders = {image.parent for image, _ in pairs}
    return folders.pop() if len(folders) == 1 else root
