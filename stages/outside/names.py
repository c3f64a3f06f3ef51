"""Names that come from outside: of files in a record, a bundle, a label file, a tag. They are joined to a folder here
and nowhere else (`tests/test_safety.py` looks for other places).

A name is taken if, with every link resolved, it leads into the folder it is meant for. Labels alone may name images
elsewhere, if the user allows it (``data.allow_outside_images``); such an image carries the key ``OUTSIDE``, and nobody
copies it anywhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.errors import DataError, DetpressError, StoreError

OUTSIDE = "outside_its_folder"
"""Key of an image's entry, true if it does not lie in the folder of its data set."""
_LONGEST, _LONGEST_PART = 4096, 255  # characters of a path, bytes of one of its parts
_SEPARATORS = re.compile(r"[/\\]")  # a record may have been written on, or for, a machine with the other one
_AGAIN = "get the file again from where it was made"


def relative(name: object, file: object, field: str, raises: type[DetpressError] = StoreError) -> str:
    """``name``, if it is the name of a file in some folder: not absolute, without ``..``, of a possible length.

    Args:
        file: where it was read, and ``field``: as what; both for the message.
        raises: the kind of the error.
    """
    if problem := _problem(name):
        raise raises(f"{file}: {field} {shown(name)} {problem}: refused; {_AGAIN}")
    return str(name)


def part(name: object, file: object, field: str, raises: type[DetpressError] = StoreError) -> str:
    """``name``, if it can be the name of one file or folder, not of one in another; arguments as of `relative`."""
    text = relative(name, file, field, raises)
    if _SEPARATORS.search(text) or text == ".":
        raise raises(f"{file}: {field} {shown(text)} is no plain name: refused; {_AGAIN}")
    return text


def entry(name: object, file: object, field: str) -> str:
    """``name``, if it is that of an entry of the store, ``STAGE/KEY``. Raises StoreError."""
    text = relative(name, file, field)
    parts = text.split("/")
    if len(parts) != 2 or "\\" in text or any(not one or one.startswith(".") for one in parts):
        raise StoreError(f"{file}: {field} {shown(text)} names no entry of a store (STAGE/KEY): refused")
    return text


def is_entry(name: str) -> bool:
    """Whether `entry` takes a name."""
    try:
        return bool(entry(name, "", ""))
    except StoreError:
        return False


def inside(root: Path, name: object, file: object, field: str, raises: type[DetpressError] = StoreError) -> Path:
    """``root / name``, if that lies under ``root`` with every link resolved; it need not exist.

    Args:
        file, field, raises: as of `relative`.
    """
    text = relative(name, file, field, raises)
    if leads_out(root, text):
        raise raises(f"{file}: {field} {shown(text)} is a link out of {root}: refused; replace it by a copy")
    return root / text


def leads_out(root: Path, name: str) -> bool:
    """Whether a name has ``..``, or leads to no place under ``root``, links resolved; absolute ones may lie there."""
    return any(outsiders(root, [name]))


def outsiders(root: Path, names: Iterable[str]) -> Iterator[bool]:
    """`leads_out` of many names: the links of a folder are resolved once, and a file costs one look."""
    base, real = Path(os.path.realpath(root)), dict[Path, Path]()
    for name in names:
        if "\0" in name or ".." in _SEPARATORS.split(name):
            yield True
            continue
        path = root / name
        try:
            if path.parent not in real:
                real[path.parent] = Path(os.path.realpath(path.parent))
            found = Path(os.path.realpath(path)) if path.is_symlink() else real[path.parent] / path.name
        except OSError:  # a name that no file has
            yield True
            continue
        yield found == base or not found.is_relative_to(base)


def joined(root: Path, name: str) -> Path:
    """``root / name`` wherever it leads: for whoever asks `outsiders` before it is read, with an option to allow it.

    Raises:
        DataError: no file can have that name.
    """
    if _impossible(name):
        raise DataError(f"{shown(name)} under {root} is no possible name of a file: refused; correct it")
    return root / name


# --- images that labels name ---------------------------------------------------------------------------------------


def accept_outsiders(images: Sequence[dict[str, Any]], root: Path, file: object, allowed: bool) -> None:
    """Mark the entries whose image does not lie under ``root``, and stop if there is any and it is not allowed.

    Args:
        images: ``{"file_name", ...}`` each; those that a conversion marked stay so.
        file: where they were read, for the message.

    Raises:
        DataError: names the first few.
    """
    for image, leads in zip(images, outsiders(root, [image["file_name"] for image in images]), strict=True):
        if leads:
            image[OUTSIDE] = True
    outside = [shown(image["file_name"]) for image in images if image.get(OUTSIDE)]
    if outside and not allowed:
        more = f" and {len(outside) - 3} more" if len(outside) > 3 else ""
        raise DataError(f"{file}: file_name {', '.join(outside[:3])}{more} leads out of the image folder {root}: "
                        "refused; copy the images there, or allow it with data.allow_outside_images=true")  # fmt: skip


def image_path(root: Path, image: Mapping[str, Any]) -> Path:
    """Where the image of a label file's entry ``{"file_name", ...}`` is; ``root`` is the folder of the images.

    Links were looked at when the images were collected.

    Raises:
        DataError: the name alone leads out of the folder, and is not marked as one that may.
    """
    name = image["file_name"]
    if not image.get(OUTSIDE) and _problem(name) and leads_out(root, str(name)):
        raise DataError(f"image {shown(name)} leads out of {root}: refused; see data.allow_outside_images")
    return root / str(name)


def listed_path(image: Mapping[str, Any]) -> Path:
    """Where an image of an image list (``images.json``) is: that was written here, of a folder that the user named."""
    return Path(image["path"])


def may_be_copied(image: Mapping[str, Any]) -> bool:
    """Whether an image may get into a bundle, a report or MLflow: only if it lies in the folder of its data set."""
    return not image.get(OUTSIDE)


def shown(value: object) -> str:
    """A value from outside, for a message: on one line, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}...{text[-10:]}"


def _problem(name: object) -> str | None:
    """What keeps a name from being one of a file in a folder, in words."""
    if not isinstance(name, str) or not name:
        return "is no name of a file"
    parts = _SEPARATORS.split(name)
    if _impossible(name):
        return "is no possible name of a file"
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[/\\]", name) or ".." in parts:
        return "leads out of its folder"
    return None


def _impossible(name: str) -> bool:
    """Whether no file can have a name."""
    parts = _SEPARATORS.split(name)
    return "\0" in name or len(name) > _LONGEST or any(len(p.encode("utf-8", "replace")) > _LONGEST_PART for p in parts)
