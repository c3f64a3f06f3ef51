"""What an opened engine finds on labelled images, in this process or in another one: the same rows, the same errors."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.backends.detector import Detector
from stages.detection.results import Floats
from stages.detection.sidecar import FILE_NAME
from stages.errors import StageError

_ROW = 6


class Picture(NamedTuple):
    """An image: where it is, and what the labels call it."""

    path: str
    name: str


def find(detector: Detector, pictures: Sequence[Picture]) -> Iterator[Floats]:
    """Detections [M, 6] of each image in order: (class, score, x1, y1, x2, y2), in pixels of the image.

    Raises:
        DataError: an image cannot be read.
        StageError: the engine gives what has no accuracy.
    """
    engine, classes = detector.engine, len(detector.sidecar.labels)
    outputs = detector.runner.over([Path(picture.path) for picture in pictures])
    for picture, seen in zip(pictures, outputs, strict=True):
        if seen.classes not in (classes, None):
            raise StageError(
                f"the engine scores {seen.classes} classes, its {FILE_NAME} names {classes}; export the model again"
            )
        if not seen.finite:
            raise StageError(
                f"the {engine.backend} {engine.precision} engine gives NaN or infinite values on {picture.name}, so it "
                "has no accuracy; build it again with other backend options"
            )
        yield seen.detections(detector.nms)


def packed(rows: Floats) -> str:
    """Detections as text, bit for bit; shorter and faster than numbers in JSON."""
    if rows.dtype != np.float32:
        raise TypeError(f"detections are float32, not {rows.dtype}")
    return base64.b64encode(np.ascontiguousarray(rows, "<f4").tobytes()).decode("ascii")


def unpacked(text: str) -> Floats:
    """What `packed` was given."""
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, _ROW).astype(np.float32)
