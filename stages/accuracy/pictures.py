"""Pictures of what two engines found on one image. Imports OpenCV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stages.detection.images import Image, read_image
from stages.detection.matching import Detections, Truth, match

WIDTH = 480  # pixels of each of the two
_GAP, _HEAD = 8, 26
_HIT, _ALARM, _MISSED, _DARK = (92, 160, 30), (50, 60, 215), (0, 190, 250), (40, 40, 40)  # blue, green, red


def side_by_side(
    image: Path,
    labels: Sequence[Mapping[str, Any]],
    found: Sequence[Sequence[Mapping[str, Any]]],
    titles: Sequence[str],
    names: Mapping[int, str],
    out: Path,
) -> None:
    """Write a JPEG with one panel per engine: hits (at IoU 0.5) green, false alarms red, boxes not found yellow."""
    picture = read_image(image)
    scale = WIDTH / picture.shape[1]
    size = (WIDTH, max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    panels = []
    for detections, title in zip(found, titles, strict=True):
        panel = np.ascontiguousarray(small)
        hits, missed = _judge(labels, detections)
        for box in missed:
            _box(panel, box, scale, _MISSED, "")
        for entry, hit in sorted(zip(detections, hits, strict=True), key=lambda pair: pair[0]["score"]):
            text = f"{names[int(entry['category_id'])]} {entry['score']:.2f}"
            _box(panel, entry["bbox"], scale, _HIT if hit else _ALARM, text)
        head = np.full((_HEAD, WIDTH, 3), 255, np.uint8)
        alarms = len(hits) - sum(hits)
        line = f"{title}: {sum(hits)} found, {len(missed)} missed, {alarms} false"
        cv2.putText(head, line, (2, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _DARK, 1, cv2.LINE_AA)
        panels += [np.concatenate([head, panel]), np.full((size[1] + _HEAD, _GAP, 3), 255, np.uint8)]
    cv2.imwrite(str(out), np.concatenate(panels[:-1], axis=1), [cv2.IMWRITE_JPEG_QUALITY, 75])


def _judge(
    labels: Sequence[Mapping[str, Any]], detections: Sequence[Mapping[str, Any]]
) -> tuple[list[bool], list[list[float]]]:
    """Which detections are hits, and the boxes that none of them took."""
    ids = {int(entry["category_id"]) for entry in (*labels, *detections)}
    coco = {"images": [{"id": 1}], "categories": [{"id": i} for i in ids]}
    truth = Truth.from_coco({**coco, "annotations": [{**a, "image_id": 1} for a in labels]})
    matches = match(truth, Detections.from_coco([{**d, "image_id": 1} for d in detections], truth))
    hits = [False] * len(detections)
    for source, bits in zip(matches.source.tolist(), matches.hit[0].tolist(), strict=True):
        hits[source] = bool(bits & 1)
    taken = set(matches.box.tolist())
    missed = [list(truth.box[i]) for i in range(len(truth.box)) if i not in taken and not truth.crowd[i]]
    return hits, missed


def _box(panel: Image, box: Sequence[float], scale: float, colour: tuple[int, int, int], text: str) -> None:
    x1, y1 = round(box[0] * scale), round(box[1] * scale)
    x2, y2 = round((box[0] + box[2]) * scale), round((box[1] + box[3]) * scale)
    cv2.rectangle(panel, (x1, y1), (x2, y2), colour, 2, cv2.LINE_AA)
    if text:
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.38, 1)
        top = max(y1 - height - 4, 0)
        cv2.rectangle(panel, (x1, top), (x1 + width + 4, top + height + 4), colour, -1)
        cv2.putText(panel, text, (x1 + 2, top + height + 1), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255,) * 3, 1, cv2.LINE_AA)
