"""Single values of a COCO file as people write them: what is meant beyond doubt is taken, all else is ``None``.

pandas writes ids as 1.0, spreadsheets write flags as text, and some exporters number images by hashes of 128 bits.
"""

from __future__ import annotations

import math

LARGEST_ID = 2**53 - 1
"""Larger ids do not survive a program that reads the numbers of JSON as doubles."""

_FLAGS = {"0": 0, "1": 1, "false": 0, "true": 1, "": 0}


def whole_number(value: object) -> int | None:
    """An id as an int: whole numbers, and floats without a fraction (1.0)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and math.isfinite(value) and value.is_integer() else None


def image_key(value: object) -> int | str | None:
    """An image's id as what ``image_id`` is compared with: a whole number, or text."""
    if isinstance(value, str):
        return value or None
    return whole_number(value)


def is_safe(value: object) -> bool:
    """Whether an id can be kept as it is."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_ID


def flag(value: object) -> int | None:
    """``iscrowd`` as 0 or 1; missing is 0. ``"0"`` is text that is true in Python, and was meant as no."""
    if value is None:
        return 0
    if isinstance(value, str):
        return _FLAGS.get(value.strip().lower())
    return int(value) if isinstance(value, (bool, int, float)) and value in (0, 1) else None


def pixels(value: object) -> int:
    """A stated width or height; 0 if there is none that makes sense."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return 0
    return int(value) if 0 < value < 2**31 else 0


def area(value: object) -> float | None:
    """A stated area in square pixels; ``None`` where width times height has to do."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value) if value > 0 else None


def box(value: object) -> list[float] | None:
    """x, y, width, height as floats, each of at most 2^31 pixels; ``None`` if it is anything else."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in value):
        return None
    # Compared first: an int of hundreds of digits has no float.
    return [float(v) for v in value] if all(-(2**31) < v < 2**31 for v in value) else None
