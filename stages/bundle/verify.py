"""Whether an engine does on this machine what its bundle promises."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.backends.base import Feeds
from stages.bundle.contents import Opened
from stages.bundle.engine import open_engine

Floats = npt.NDArray[np.float32]

SCORE, SCORE_SLACK = 0.3, 0.1
"""Detections above ``SCORE`` have to be found again, with a score that differs by at most ``SCORE_SLACK``."""
IOU = 0.8
WARMUP, RUNS = 5, 30


def verify(bundle: Opened) -> dict[str, Any]:
    """Run the golden images and time the engine.

    Returns:
        ``agreement`` (share of the expected and the found detections above ``SCORE`` that have a partner of the same
        class with an IoU of at least ``IOU``), ``largest_score_difference`` (of partners), ``expected``, ``map`` on the
        golden images in points and ``promised_map`` (``None`` without labels), ``median_ms`` of the engine alone, and
        ``promised_ms`` with the ``promised_on`` hardware and the verdict on that timing, ``promised_timing`` (``None``
        of a bundle of before it was kept).

    Raises:
        InputError: the engine cannot be loaded, or is another one than the record says.
        UnavailableError: the backend cannot run here.
    """
    pairs = lost = 0
    largest = 0.0
    found: list[tuple[int, Floats]] = []
    coco = bundle.annotations()
    ids = {image["file_name"]: image["id"] for image in coco["images"]} if coco else {}
    with open_engine(bundle) as detector:
        feeds: Feeds = {}
        paths = [bundle.image(golden) for golden in bundle.golden()]
        for golden, seen in zip(bundle.golden(), detector.runner.over(paths, together=1), strict=True):
            detections = seen.detections(detector.nms)
            found.append((ids.get(golden["file"], 0), detections))
            matched, alone, difference = compare(golden["detections"], detector.as_json(detections))
            pairs, lost, largest = pairs + matched, lost + alone, max(largest, difference)
            feeds, _ = detector.runner.feeds([seen.image])
        times: list[float] = []
        for i in range(WARMUP + RUNS):
            started = time.perf_counter()
            detector.session.infer(feeds)
            if i >= WARMUP:
                times.append((time.perf_counter() - started) * 1000)
    promised: Mapping[str, Any] = bundle.record["promised"]
    return {
        "agreement": 1.0 if pairs + lost == 0 else pairs / (pairs + lost),
        "largest_score_difference": round(largest, 6),
        "expected": sum(d["score"] >= SCORE for g in bundle.golden() for d in g["detections"]),
        "map": golden_map(coco, found, list(detector.sidecar.labels)) if coco else None,
        "promised_map": promised.get("golden_map"),
        "median_ms": statistics.median(times),
        "promised_ms": promised.get("median_ms"),
        "promised_on": bundle.record["hardware"],
        "promised_timing": promised.get("timing"),
    }


def compare(expected: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> tuple[int, int, float]:
    """Partners among the detections of one image: how many there are, how many have none, largest score difference.

    A detection counts if its own score is above ``SCORE``; its partner's may be a little below.
    """
    free = list(found)
    pairs = lost = 0
    largest = 0.0
    for one in expected:
        partner = max(
            (o for o in free if o["class"] == one["class"] and abs(o["score"] - one["score"]) <= SCORE_SLACK),
            key=lambda o: iou(o["box"], one["box"]),
            default=None,
        )
        if partner is not None and iou(partner["box"], one["box"]) >= IOU:
            free.remove(partner)
            largest = max(largest, abs(partner["score"] - one["score"]))
            pairs += max(one["score"], partner["score"]) >= SCORE
        else:
            lost += one["score"] >= SCORE
    lost += sum(o["score"] >= SCORE for o in free)
    return pairs, lost, largest


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    whole = sum(areas) - common
    return common / whole if whole > 0 else 0.0


def golden_map(coco: dict[str, Any], found: list[tuple[int, Floats]], labels: list[str]) -> float | None:
    """COCO mAP in points on the golden images: noisy as a measure, exact as a fingerprint."""
    from stages.detection.average_precision import summarize
    from stages.detection.classes import match_classes
    from stages.detection.matching import Truth, match
    from stages.detection.results import gather
    from stages.errors import DataError

    try:
        categories = match_classes(labels, coco["categories"]).categories
    except DataError:  # the run has told; a bundle does without the number
        return None
    truth = Truth.from_coco(coco)
    value = summarize(match(truth, gather(found, truth, categories)))["AP"]
    return None if value is None else 100.0 * float(value)
