"""Detections of any images with the engine of a bundle or of one ONNX file, and pictures of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.bundle.engine import Runnable, open_engine
from stages.detection.images import Image
from stages.errors import DataError, InputError
from stages.outside.text import line

_FAR, _LONGEST_LABEL = 1 << 14, 60
"""Pixels, beyond which a box is not drawn, and characters of a label."""


def predict(
    bundle: Runnable, images: Sequence[Path], out: Path | None, threshold: float | Sequence[float]
) -> Iterator[dict[str, Any]]:
    """``{"image", "detections", "drawn"}`` for each image, as soon as it is done.

    Args:
        out: folder for pictures with the boxes drawn in; ``None``: no pictures.
        threshold: least score of a detection, or one for each class of the model in its order.

    Raises:
        DataError: an image cannot be read.
        InputError: ``out`` cannot be made, or the engine cannot be loaded, is another one than the record says, or
            finds boxes without numbers.
        UnavailableError: the backend cannot run here.
    """
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {out} cannot be made ({error.strerror}); name another folder") from error
    with open_engine(bundle) as detector:
        for path, seen in zip(images, detector.runner.over(images, together=1), strict=True):
            boxes = seen.detections(detector.nms)
            if not np.isfinite(boxes).all():
                raise InputError(
                    f"{bundle.name}: its engine finds boxes in {path} that are no numbers; see `detpress verify`"
                )
            found = (
                detector.as_json(boxes, threshold)
                if isinstance(threshold, float)
                else [one for one in detector.as_json(boxes) if one["score"] >= threshold[one["class"]]]
            )
            drawn = None if out is None else str(_save(draw(seen.image, found), out, path))
            yield {"image": str(path), "detections": found, "drawn": drawn}


def draw(image: Image, detections: Sequence[Mapping[str, Any]]) -> Image:
    """A copy of a BGR image with boxes in the colours of their classes, labels and scores; the best come first."""
    from stages.detection.drawing import Box, class_colour, draw_boxes

    picture = image.copy()
    boxes = []
    for one in detections:
        x1, y1, x2, y2 = (round(min(max(v, -_FAR), _FAR)) for v in one["box"])
        label = f"{line(one['label'])[:_LONGEST_LABEL]} {one['score']:.2f}"
        boxes.append(Box((x1, y1, x2, y2), class_colour(one["class"]), label))
    draw_boxes(picture, boxes)
    return picture


def summary(line: Mapping[str, Any]) -> str:
    """One line of `predict` for people: ``a.jpg: 12 RBC (0.52 to 0.91), 1 WBC (0.92) -> predictions/a.png``."""
    scores: dict[str, list[float]] = {}
    for one in line["detections"]:
        scores.setdefault(one["label"], []).append(one["score"])
    often = sorted(scores.items(), key=lambda item: (-len(item[1]), item[0]))
    found = ", ".join(f"{len(of)} {name} ({_span(of)})" for name, of in often) or "nothing found"
    drawn = f" -> {line['drawn']}" if line["drawn"] else ""
    return f"{line['image']}: {found}{drawn}"


def _span(scores: Sequence[float]) -> str:
    low, high = f"{min(scores):.2f}", f"{max(scores):.2f}"
    return low if low == high else f"{low} to {high}"


def _save(picture: Image, out: Path, source: Path) -> Path:
    import cv2

    target = out / f"{source.stem}.png"
    number = 1
    while target.exists():  # images of one name from two folders, or an earlier call's
        number += 1
        target = out / f"{source.stem}-{number}.png"
    done, data = cv2.imencode(".png", picture)
    if not done:
        raise DataError(f"the picture of {source} could not be written as PNG; name a smaller image")
    try:
        target.write_bytes(data.tobytes())
    except OSError as error:
        raise DataError(f"{target} cannot be written ({error.strerror}); name another folder with --out") from error
    return target
