"""Single values of a VOC annotation; what is wrong with one is a ValueError that says so."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from stages.outside import files

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def class_name(entry: ET.Element) -> str:
    """The class of an object."""
    if not (name := (entry.findtext("name") or "").strip()):
        raise ValueError("object without a name")
    return name


def box(entry: ET.Element) -> tuple[float, float, float, float]:
    """xmin, ymin, xmax, ymax as the file has them."""
    corners: list[float] = []
    for side in CORNERS:
        text = entry.findtext(f"bndbox/{side}")
        try:
            value = float(text or "")
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"object without {side}" if text is None else f"{side} {text.strip()[:20]!r} is no number")
        corners.append(value)
    return corners[0], corners[1], corners[2], corners[3]


def flag(entry: ET.Element) -> bool:
    """Whether an object is ``difficult``."""
    text = (entry.findtext("difficult") or "0").strip()
    if text not in ("0", "1"):
        raise ValueError(f"difficult is {text[:20]!r}; it has to be 0 or 1")
    return text == "1"


def size(annotation: ET.Element, side: str) -> int:
    """Stated width or height; 0 if there is none that makes sense."""
    try:
        return max(0, int(float(annotation.findtext(f"size/{side}") or "")))
    except (ValueError, OverflowError):
        return 0


def object_lines(path: Path) -> list[int]:
    """The line of each ``<object>``, from 1."""
    text = files.read_bytes(path)
    return [text.count(b"\n", 0, match.start()) + 1 for match in re.finditer(rb"<object[\s>]", text)]
