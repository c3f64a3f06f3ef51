"""Pictures of what two engines found on one image. Imports OpenCV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stages.detection.drawing import Box, Colour, Pen, draw_boxes
from stages.detection.images import read_image
from stages.detection.matching import Detections, Truth, match

WIDTH = 480  # pixels of each of the two
_GAP, _HEAD = 8, 26
_HIT, _ALARM, _MISSED, _DARK = (92, 160, 30), (50, 60, 215), (0, 190, 250), (40, 40, 40)  # blue, green, red
_LOST, _GAINED = (190, 40, 190), (235, 130, 20)


@dataclass(frozen=True)
class Judged:
    """What became of an engine's detections on one image, at IoU 0.5.

    Attributes:
        boxes: of each detection the number of the label that it hit, or ``None``.
        missed: label number -> box (x, y, width, height) that none of them hit; crowds are left out.
    """

    boxes: list[int | None]
    missed: dict[int, list[float]]

    @property
    def hits(self) -> set[int]:
        """Numbers of the labels that were found."""
        return {box for box in self.boxes if box is not None}


def side_by_side(
    image: Path,
    labels: Sequence[Mapping[str, Any]],
    found: Sequence[Sequence[Mapping[str, Any]]],
    titles: Sequence[str],
    names: Mapping[int, str],
    out: Path,
) -> None:
    """Write a JPEG with one panel per engine: hits (at IoU 0.5) green, false alarms red, boxes not found yellow.

    In the panels behind the first one, boxes that the first engine found and this one did not ("lost") are magenta,
    and those that only this one found ("gained") are blue.
    """
    picture = read_image(image)
    scale = WIDTH / picture.shape[1]
    size = (WIDTH, max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    judged = [judge(labels, detections) for detections in found]
    panels = []
    for number, (detections, own, title) in enumerate(zip(found, judged, titles, strict=True)):
        lost = set(own.missed) & judged[0].hits if number else set()
        gained = own.hits - judged[0].hits if number else set()
        drawn = [_drawn(own.missed[box], scale, _LOST, "lost") for box in sorted(lost)]
        pairs = sorted(zip(detections, own.boxes, strict=True), key=lambda pair: -pair[0]["score"])
        for entry, box in pairs:
            text = f"{names[int(entry['category_id'])]} {entry['score']:.2f}"
            colour = _ALARM if box is None else _GAINED if box in gained else _HIT
            drawn.append(_drawn(entry["bbox"], scale, colour, f"gained: {text}" if box in gained else text))
        drawn += [_drawn(bounds, scale, _MISSED, "") for box, bounds in own.missed.items() if box not in lost]
        panel = small.copy()
        draw_boxes(panel, drawn)
        head = np.full((_HEAD, WIDTH, 3), 255, np.uint8)
        _write(head, _counted(title, own, len(lost), len(gained)))
        panels += [np.concatenate([head, panel]), np.full((size[1] + _HEAD, _GAP, 3), 255, np.uint8)]
    cv2.imwrite(str(out), np.concatenate(panels[:-1], axis=1), [cv2.IMWRITE_JPEG_QUALITY, 75])


def judge(labels: Sequence[Mapping[str, Any]], detections: Sequence[Mapping[str, Any]]) -> Judged:
    """Which labels the detections of one image hit, and which none of them did."""
    ids = {int(entry["category_id"]) for entry in (*labels, *detections)}
    coco = {"images": [{"id": 1}], "categories": [{"id": i} for i in ids]}
    truth = Truth.from_coco({**coco, "annotations": [{**a, "image_id": 1} for a in labels]})
    matches = match(truth, Detections.from_coco([{**d, "image_id": 1} for d in detections], truth))
    boxes: list[int | None] = [None] * len(detections)
    for source, bits, box in zip(matches.source.tolist(), matches.hit[0].tolist(), matches.box.tolist(), strict=True):
        if bits & 1:
            boxes[source] = int(box)
    taken = set(matches.box.tolist())
    missed = {i: list(truth.box[i]) for i in range(len(truth.box)) if i not in taken and not truth.crowd[i]}
    return Judged(boxes, missed)


def _counted(title: str, judged: Judged, lost: int, gained: int) -> str:
    hits, alarms = len(judged.hits), judged.boxes.count(None)
    found = f"{hits} found" + (f" ({gained} gained)" if gained else "")
    missed = f"{len(judged.missed)} missed" + (f" ({lost} lost)" if lost else "")
    return f"{title}: {found}, {missed}, {alarms} false"


def _write(head: Any, line: str) -> None:
    pen = Pen(1, 0.5, 1)
    (width, _), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, pen.font, pen.stroke)
    font = pen.font * min(1.0, (WIDTH - 4) / width)
    cv2.putText(head, line, (2, 18), cv2.FONT_HERSHEY_SIMPLEX, font, _DARK, pen.stroke, cv2.LINE_AA)


def _drawn(bounds: Sequence[float], scale: float, colour: Colour, text: str) -> Box:
    x, y, width, height = bounds
    corners = (round(x * scale), round(y * scale), round((x + width) * scale), round((y + height) * scale))
    return Box(corners, colour, text)
