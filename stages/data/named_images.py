"""The images that a label file names: which are there, what they are called here, and how large they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.contract import StageContext
from stages.detection.coco import some
from stages.outside import names


def missing_files(images: list[dict[str, Any]], root: Path) -> list[str]:
    """File names of images that are not under ``root``."""
    return [image["file_name"] for image in images if not names.image_path(root, image).exists()]


def with_native_separators(images: list[dict[str, Any]], root: Path) -> list[str]:
    """Change the ``file_name``s that name a file under ``root`` once \\ is read as /; returns their old forms."""
    renamed = []
    for image in images:
        name = image["file_name"]
        slashed = name.replace("\\", "/")
        if slashed == name or names.leads_out(root, slashed):
            continue
        there, instead = (names.image_path(root, {"file_name": form}) for form in (name, slashed))
        if not there.is_file() and instead.is_file():
            image["file_name"] = slashed
            renamed.append(name)
    return renamed


def fill_missing_sizes(
    images: Sequence[dict[str, Any]], sizes: Sequence[tuple[int, int]], context: StageContext
) -> None:
    """Fill in sizes the labels do not state, and say where they contradict the image.

    Args:
        images: entries of a label file, changed in place.
        sizes: width and height of each in pixels.
    """
    wrong = []
    for image, (width, height) in zip(images, sizes, strict=True):
        stated = (image["width"], image["height"])
        if all(stated) and stated != (width, height):
            wrong.append(f"{image['file_name']} ({stated[0]}x{stated[1]} in the labels, {width}x{height} in the file)")
        image["width"], image["height"] = width, height
    if wrong:
        context.warn(
            f"{len(wrong)} images have another size than their labels say, so their boxes may be off: {some(wrong)}"
        )
