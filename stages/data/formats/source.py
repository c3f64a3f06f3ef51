"""What every layout comes down to: splits of images with label files, class names, and their content as COCO."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from stages.detection.coco import CocoSet, some
from stages.errors import DataError
from stages.outside import files
from stages.outside import names as outside

TRAIN, VAL = "train", "val"
SUFFIX_HINT = "jpg, png, bmp, webp, tif"
DIGITS = 6  # decimals of a pixel that are kept: what is below comes from dividing and multiplying again


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes:
        root: folder that file names are relative to.
        images: absolute paths, in the order of the converted file.
        labels: every file that decides the content: label files, lists and names.
    """

    root: Path
    images: list[Path]
    labels: list[Path] = field(default_factory=list)


class Source(ABC):
    """A data set in one of the layouts. Opening it lists files; `read` reads the labels.

    Attributes:
        root: where the layout starts: the user's folder, or the one folder in it.
        splits: ``train``, ``val`` or both.
        notes: what was chosen where there was a choice, in words.
    """

    title: ClassVar[str] = ""
    sized: ClassVar[bool] = False
    """Whether reading needs the images' sizes (labels are shares of them)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.splits: dict[str, Split] = {}
        self.notes: list[str] = []

    @abstractmethod
    def categories(self, split: str) -> list[dict[str, Any]]:
        """``{"id", "name"}`` of each class, in the order of a model trained on the split; reads no image.

        Raises:
            DataError: there are none, or they contradict each other.
        """

    @abstractmethod
    def read(
        self, split: str, sizes: Mapping[Path, tuple[int, int]] | None = None, *, scored: bool | None = None
    ) -> CocoSet:
        """The labels of a split as COCO; file names are relative to the split's ``root``.

        Args:
            sizes: image -> width, height in pixels, 0 for one that cannot be read. ``None``: only classes and numbers
                of boxes are wanted, and boxes may have any scale.
            scored: what the split is for, where that is not what it is called: scoring or training.

        Raises:
            DataError: what is wrong, with file and line, several at once.
        """

    def opened(self, split: str) -> list[Path]:
        """The images that labels of the split name, and that are read for it; some may be missing."""
        return self.splits[split].images

    def named_files(self, split: str) -> list[Path]:
        """Images and label files of a split whose places the data set itself names."""
        return [*self.splits[split].images, *self.splits[split].labels]

    def names(self, split: str) -> list[str]:
        """Class names in the order of class index; errors as of `categories`."""
        return [str(c["name"]) for c in self.categories(split)]


def refuse_outsiders(source: Source, allowed: bool) -> None:
    """DataError if the data set names files outside of its folder, and that is not allowed."""
    files = [file for split in source.splits for file in source.named_files(split)]
    leads_out = outside.outsiders(source.root, map(str, files))
    found = [str(file) for file, leads in zip(files, leads_out, strict=True) if leads]
    if found and not allowed:
        raise DataError(f"the data set names {len(found)} files outside of {source.root}: {some(found)}: refused; copy "
                        "them there, or allow it with data.allow_outside_images=true")  # fmt: skip


def mark_outsiders(source: Source, root: Path, images: Sequence[dict[str, Any]]) -> None:
    """Say of each entry whether its image, named relative to ``root``, lies outside of the data set's folder."""
    paths = [outside.joined(root, image["file_name"]) for image in images]
    for image, leads in zip(images, outside.outsiders(source.root, map(str, paths)), strict=True):
        if leads:
            image[outside.OUTSIDE] = True


class Cases:
    """Problems with the places where they are, raised together and cut after a few."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._found: list[str] = []

    def add(self, file: Path, text: str, line: int | None = None) -> None:
        """One problem: ``labels/a.txt:3: text``."""
        self._found.append(f"{shown(file, self.root)}{'' if line is None else f':{line}'}: {text}")

    def stop(self) -> None:
        """Raise DataError if there is any."""
        if self._found:
            count = "a problem" if len(self._found) == 1 else f"{len(self._found)} problems"
            raise DataError(f"the labels under {self.root} have {count}: {some(self._found)}; correct or remove them")


def shown(path: Path, root: Path) -> str:
    """``path`` relative to ``root`` if it lies there."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def read_text(path: Path) -> str:
    """The text of a label file: UTF-8, a byte order mark is left out.

    Raises:
        DataError: it cannot be read, or is in another encoding.
    """
    try:
        return files.read_text(path, "utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and the stripped text of the lines that are not empty; errors as of `read_text`."""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if text := line.strip():
            yield number, text


def read_names(path: Path) -> list[str]:
    """Class names, one a line.

    Raises:
        DataError: none, or one twice.
    """
    names = [text for _, text in lines_of(path)]
    check_names(names, path)
    return names


def check_names(names: Sequence[str], path: Path) -> None:
    """DataError unless there are names and each stands for one class."""
    if not names:
        raise DataError(f"{path} names no class; write one a line, in the order of class index")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path} names classes twice: {some(twice)}; give each class a name of its own")


def as_categories(names: Sequence[str]) -> list[dict[str, Any]]:
    """COCO's categories for class names in order; ids count from 1, as usual there."""
    return [{"id": i, "name": name} for i, name in enumerate(names, start=1)]


class CocoBuilder:
    """Collects images and boxes of a split; ids count from 1 in the order of the images."""

    def __init__(self, split: Split, names: Sequence[str]) -> None:
        self._split = split
        self._names = names
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._flat: list[str] = []
        self.warnings: list[str] = []

    def image(self, path: Path, width: int, height: int) -> None:
        """The image that the next boxes belong to; a size of 0: unknown."""
        name = shown(path, self._split.root)
        self._images.append({"id": len(self._images) + 1, "file_name": name, "width": width, "height": height})

    def box(self, label: int, left: float, top: float, width: float, height: float, place: str, crowd: int = 0) -> None:
        """A box in pixels; one without width or height is left out and counted under ``place``."""
        if width <= 0 or height <= 0:
            self._flat.append(place)
            return
        box = [round(v, DIGITS) for v in (left, top, width, height)]
        self._annotations.append(
            {
                "id": len(self._annotations) + 1,
                "image_id": len(self._images),
                "category_id": label + 1,
                "bbox": box,
                "area": round(box[2] * box[3], DIGITS),
                "iscrowd": crowd,
            }
        )

    def done(self) -> CocoSet:
        """Everything that was added."""
        if self._flat:
            self.warnings.append(f"{len(self._flat)} boxes without width or height were left out: {some(self._flat)}")
        return CocoSet(self._images, self._annotations, as_categories(self._names), self.warnings)
