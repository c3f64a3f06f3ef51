"""COCO matching kept per detection, so that scores of any resampling of the images follow without matching again.

The rules are those of COCO's evaluation code: per class and image the best 100 detections, in order of score, each take
the free box of largest IoU at or above the threshold; boxes outside of an area range, and crowds, are neither hits nor
misses. The numbers that `stages/detection/average_precision.py` makes of it equal pycocotools' to the last bit.

Everything is arrays: 1.5 million detections take about 100 MB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

IOUS: npt.NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
RECALLS: npt.NDArray[np.float64] = np.linspace(0.0, 1.0, 101)
AREAS: tuple[tuple[str, float, float], ...] = (
    ("all", 0.0, 1e5**2),
    ("small", 0.0, 32.0**2),
    ("medium", 32.0**2, 96.0**2),
    ("large", 96.0**2, 1e5**2),
)
"""Name, least and largest area in square pixels, both included."""
LIMITS: tuple[int, ...] = (1, 10, 100)
"""Detections per class and image that recall is given for; the last one holds for everything else."""
ALL_IOUS = (1 << len(IOUS)) - 1

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int32]
Bits = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Truth:
    """Labelled boxes as arrays. Images and categories are numbered in order of their ids, from 0.

    Attributes:
        image_ids, category_ids: the ids, in order.
        image, category: int32 [G], the numbers.
        box: float64 [G, 4] as (x, y, width, height).
        area: float64 [G], as labelled.
        crowd: bool [G].
    """

    image_ids: list[int]
    category_ids: list[int]
    image: Integers
    category: Integers
    box: Floats
    area: Floats
    crowd: npt.NDArray[np.bool_]

    @classmethod
    def from_coco(cls, coco: dict[str, Any]) -> Truth:
        """The labels of a COCO file's content."""
        image_ids = sorted({int(i["id"]) for i in coco["images"]})
        category_ids = sorted({int(c["id"]) for c in coco["categories"]})
        images, categories = _numbers(image_ids), _numbers(category_ids)
        kept = [a for a in coco["annotations"] if a["image_id"] in images and a["category_id"] in categories]
        return cls(
            image_ids,
            category_ids,
            np.array([images[a["image_id"]] for a in kept], np.int32),
            np.array([categories[a["category_id"]] for a in kept], np.int32),
            np.array([a["bbox"] for a in kept], np.float64).reshape(-1, 4),
            np.array([a["area"] for a in kept], np.float64),
            np.array([bool(a.get("iscrowd")) for a in kept], np.bool_),
        )

    def ignored(self) -> npt.NDArray[np.bool_]:
        """bool [areas, G]: crowds, and boxes outside of an area range."""
        outside = [(self.area < low) | (self.area > high) for _, low, high in AREAS]
        return np.stack(outside) | self.crowd


@dataclass(frozen=True)
class Detections:
    """What an engine found: arrays as in `Truth`, and ``score`` float64 [N]."""

    image: Integers
    category: Integers
    score: Floats
    box: Floats

    @classmethod
    def from_coco(cls, results: Sequence[dict[str, Any]], truth: Truth) -> Detections:
        """COCO results (``{"image_id", "category_id", "bbox", "score"}`` each)."""
        images, categories = _numbers(truth.image_ids), _numbers(truth.category_ids)
        return cls(
            np.array([images[d["image_id"]] for d in results], np.int32),
            np.array([categories[d["category_id"]] for d in results], np.int32),
            np.array([d["score"] for d in results], np.float64),
            np.array([d["bbox"] for d in results], np.float64).reshape(-1, 4),
        )


@dataclass(frozen=True)
class Matches:
    """What became of each detection, in order of category and then of falling score (ties as pycocotools has them).

    Attributes:
        image_ids, category_ids: int64, as in `Truth`.
        image, category: int32 [N].
        score: float64 [N].
        rank: uint8 [N], place within its class and image, from 0.
        hit: uint16 [areas, N]; bit t is set if the detection took a box at ``IOUS[t]``.
        ignored: uint16 [areas, N]; bit t is set if it is neither a hit nor a false alarm there.
        box: int32 [N], the labelled box it took at IoU 0.5 (its number in `Truth`), -1 without one.
        source: int32 [N], its number in the `Detections` given.
        bbox: float32 [N, 4] as (x, y, width, height).
        truth_image, truth_category: int32 [G]; truth_ignored: bool [areas, G].
    """

    image_ids: npt.NDArray[np.int64]
    category_ids: npt.NDArray[np.int64]
    image: Integers
    category: Integers
    score: Floats
    rank: npt.NDArray[np.uint8]
    hit: Bits
    ignored: Bits
    box: Integers
    source: Integers
    bbox: npt.NDArray[np.float32]
    truth_image: Integers
    truth_category: Integers
    truth_ignored: npt.NDArray[np.bool_]

    def save(self, path: Path) -> None:
        np.savez(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Matches:
        with np.load(path) as data:
            return cls(**{f.name: data[f.name] for f in fields(cls)})

    @property
    def images(self) -> int:
        return len(self.image_ids)

    @property
    def categories(self) -> int:
        return len(self.category_ids)

    def of_category(self, category: int) -> slice:
        """Where a category's detections stand."""
        first, last = np.searchsorted(self.category, [category, category + 1])
        return slice(int(first), int(last))


def match(truth: Truth, found: Detections) -> Matches:
    """Match detections with labelled boxes, for every area range and IoU threshold."""
    order = np.lexsort((-found.score, found.image, found.category))
    pair = found.category[order].astype(np.int64) * len(truth.image_ids) + found.image[order]
    rank = np.arange(pair.size) - np.searchsorted(pair, pair)
    kept = rank < LIMITS[-1]
    order, pair, rank = order[kept], pair[kept], rank[kept]
    box = found.box[order]
    area = box[:, 2] * box[:, 3]
    hit = np.zeros((len(AREAS), order.size), np.uint16)
    ignored = np.stack([((area < low) | (area > high)) * np.uint16(ALL_IOUS) for _, low, high in AREAS])
    taken = np.full(order.size, -1, np.int32)
    truth_ignored = truth.ignored()
    for own, boxes in _pairs(pair, truth):
        _match_pair(box, truth, truth_ignored, own, boxes, hit, ignored, taken)
    by_score = np.lexsort((-found.score[order], found.category[order]))
    order = order[by_score]
    return Matches(
        image_ids=np.array(truth.image_ids, np.int64),
        category_ids=np.array(truth.category_ids, np.int64),
        image=found.image[order],
        category=found.category[order],
        score=found.score[order],
        rank=rank[by_score].astype(np.uint8),
        hit=np.ascontiguousarray(hit[:, by_score]),
        ignored=np.ascontiguousarray(ignored[:, by_score]),
        box=taken[by_score],
        source=order.astype(np.int32),
        bbox=box[by_score].astype(np.float32),
        truth_image=truth.image,
        truth_category=truth.category,
        truth_ignored=truth_ignored,
    )


def _pairs(pair: npt.NDArray[np.int64], truth: Truth) -> Iterator[tuple[slice, npt.NDArray[np.intp]]]:
    """For each class and image with both: where its detections stand, and the numbers of its boxes, in their order."""
    of_box = truth.category.astype(np.int64) * len(truth.image_ids) + truth.image
    by_pair = np.argsort(of_box, kind="stable")
    keys, starts = np.unique(of_box[by_pair], return_index=True)
    ends = np.searchsorted(of_box[by_pair], keys, side="right")
    firsts, lasts = np.searchsorted(pair, keys), np.searchsorted(pair, keys + 1)
    for first, last, start, end in np.stack([firsts, lasts, starts, ends], axis=1).tolist():
        if last > first:
            yield slice(first, last), by_pair[start:end]


_AT_LEAST = np.minimum(IOUS, 1 - 1e-10)  # an IoU of 1 - rounding counts as 1, as in COCO's code
_BIT = (1 << np.arange(len(IOUS))).astype(np.uint16)


def _match_pair(
    box: Floats,
    truth: Truth,
    truth_ignored: npt.NDArray[np.bool_],
    own: slice,
    boxes: npt.NDArray[np.intp],
    hit: Bits,
    ignored: Bits,
    taken: Integers,
) -> None:
    """Match the detections ``own`` with ``boxes``; all area ranges and thresholds [A, T] at once, box by box [G]."""
    from pycocotools import mask  # its IoU: the last bit decides at a threshold

    crowd = truth.crowd[boxes]
    iou = np.asarray(mask.iou(box[own], truth.box[boxes], crowd.astype(np.uint8).tolist()))
    skip = truth_ignored[:, boxes]  # [A, G]
    free = np.ones((len(AREAS), len(IOUS), len(boxes)), np.bool_)
    lanes = np.indices(free.shape[:2])
    for d in np.flatnonzero(iou.max(axis=1) >= _AT_LEAST[0]):
        # Preference as one number: boxes that count before ignored ones, then IoU, then the later one.
        place = np.empty(len(boxes), np.int64)
        place[np.argsort(iou[d], kind="stable")] = np.arange(len(boxes))
        wish = np.where(skip, place, place + len(boxes))[:, None, :]
        wish = np.where(free & (iou[d] >= _AT_LEAST[:, None]), wish, -1)
        best = wish.argmax(axis=2)
        matched = wish.max(axis=2) >= 0
        counts = ~np.take_along_axis(skip, best, axis=1)
        at = own.start + int(d)
        hit[:, at] = ((matched & counts) * _BIT).sum(axis=1)
        # Unmatched lanes keep what the detection's own area says.
        ignored[:, at] = np.where(matched, ~counts, (ignored[:, at, None] & _BIT) > 0) @ _BIT
        if matched[0, 0] and counts[0, 0]:
            taken[at] = boxes[best[0, 0]]
        used = matched & ~crowd[best]
        free[lanes[0][used], lanes[1][used], best[used]] = False


def _numbers(ids: Sequence[int]) -> dict[int, int]:
    return {value: number for number, value in enumerate(ids)}
