"""Reading images: what counts as readable is decided here, for collecting, training and scoring alike."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.errors import DataError
from stages.outside.files import read_bytes as read_regular

Image = npt.NDArray[np.uint8]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""File name endings (lower case) that are taken for images when a folder is scanned."""


LARGEST = 1 << 30
"""Bytes of an image file."""


def list_images(folder: Path) -> list[Path]:
    """All image files under ``folder``, recursively, in the order of their relative path.

    Linked folders are entered (each real folder once, so that a loop of links ends); hidden files and folders are not.
    """
    found: list[Path] = []
    entered: set[Path] = set()
    for base, folders, files in os.walk(folder, followlinks=True):
        here = Path(base)
        real = here.resolve()
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        found += [here / f for f in files if not f.startswith(".") and Path(f).suffix.lower() in SUFFIXES]
    return sorted(found, key=Path.as_posix)


def decode_image(data: bytes, name: str | Path) -> Image:
    """The image in ``data`` as BGR uint8 [H, W, 3], EXIF orientation applied.

    Decoders fill the missing part of a cut-off file with grey and continue; here a cut-off file is an error.

    Raises:
        DataError: the bytes are no whole image.
    """
    import cv2

    if not data:
        raise DataError(f"image {name} is empty (0 bytes); replace or remove it")
    if not is_whole(data):
        raise DataError(f"image {name} is cut off ({len(data)} bytes); copy it again or remove it")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise DataError(f"image {name} cannot be decoded ({error.err}); replace or remove it") from error
    if image is None:
        raise DataError(f"image {name} cannot be decoded; replace or remove it")
    return np.asarray(image, np.uint8)


def read_bytes(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        DataError: the file is missing, may not be read, is no regular file, or has more than `LARGEST` bytes.
    """
    try:
        return read_regular(path, LARGEST)
    except OSError as error:
        raise DataError(
            f"image {path} cannot be read ({error.strerror}); check the path and its permissions"
        ) from error


def read_image(path: Path) -> Image:
    """The image at ``path`` as BGR uint8 [H, W, 3].

    Raises:
        DataError: missing, empty, cut off or not an image.
    """
    return decode_image(read_bytes(path), path)


def is_whole(data: bytes) -> bool:
    """Whether a JPEG or PNG has its end marker; other formats are left to the decoder (true)."""
    if data.startswith(b"\x89PNG"):
        return data.rfind(b"IEND") >= 0  # from the end, where it is in a whole file
    if not data.startswith(b"\xff\xd8"):
        return True
    # The end marker has to come after the start of the scan: an embedded thumbnail has one of its own before it.
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == 0xDA:  # start of scan; 0xFF in the data behind it is escaped, so 0xFFD9 can only be the end
            return data.rfind(b"\xff\xd9", at) >= 0  # from the end, where it is in a whole file
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a length
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def evenly_spaced(items: Sequence[Any], count: int | None) -> list[Any]:
    """``count`` of the items at even distances; all, if there are not more."""
    if count is None or count >= len(items):
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]
