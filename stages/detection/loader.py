"""Batches for training, drawn so that step ``s`` of a seed is always the same batch.

Nothing is remembered between steps: the order and every augmentation follow from (seed, epoch, index). A training that
is resumed at step ``s`` therefore sees exactly what the uninterrupted one would have seen.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from stages.detection.augment import Augmentation, Boxes, Classes
from stages.detection.coco import CocoSet
from stages.detection.images import read_image
from stages.detection.preprocess import Preprocessor, Tensor
from stages.outside import names

MIN_SIDE = 1.0  # boxes thinner than this after the resize, in pixels of the input, teach nothing

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """What ppdet's head wants for its loss. ``n`` is the largest number of boxes in the batch, at least 1.

    Attributes:
        image: float32 [B, 3, H, W], preprocessed.
        gt_class: int32 [B, n, 1], class indices; 0 where padded.
        gt_bbox: float32 [B, n, 4], (x1, y1, x2, y2) in pixels of the input; 0 where padded.
        pad_gt_mask: float32 [B, n, 1], 1 for a box, 0 for padding.
    """

    image: Tensor
    gt_class: Classes
    gt_bbox: Boxes
    pad_gt_mask: Tensor


class TrainingImages:
    """The labelled images of a set as an endless, seeded stream of batches.

    Crowd boxes are left out, images without boxes stay in (they teach what is background). Classes are numbered as
    ``labels`` are, by default as the set's categories.
    """

    def __init__(
        self,
        folder: Path,
        coco: CocoSet,
        preprocessor: Preprocessor,
        augmentation: Augmentation,
        *,
        batch: int,
        seed: int,
        labels: Sequence[str] | None = None,
    ) -> None:
        self._preprocessor = preprocessor
        self._augmentation = augmentation
        self._batch = batch
        self._seed = seed
        self._paths = [names.image_path(folder, image) for image in coco.images]
        self._labels = _labels_of_images(coco, coco.class_index(coco.labels if labels is None else labels))
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def __len__(self) -> int:
        return len(self._paths)

    def batch(self, step: int) -> Batch:
        """The batch of step ``step`` (from 0)."""
        samples = [self._sample(step * self._batch + i) for i in range(self._batch)]
        n = max(1, *(len(classes) for _, _, classes in samples))
        count = len(samples)
        gt_class, gt_bbox = np.zeros((count, n, 1), np.int32), np.zeros((count, n, 4), np.float32)
        mask = np.zeros((count, n, 1), np.float32)
        for i, (_, boxes, classes) in enumerate(samples):
            gt_class[i, : len(classes), 0] = classes
            gt_bbox[i, : len(classes)] = boxes
            mask[i, : len(classes)] = 1
        return Batch(np.stack([image for image, _, _ in samples]), gt_class, gt_bbox, mask)

    def _sample(self, position: int) -> tuple[Tensor, Boxes, Classes]:
        """The ``position``-th image of the stream, preprocessed, with its boxes in pixels of the input."""
        epoch, place = divmod(position, len(self._paths))
        index = int(self._order(epoch)[place])
        rng = np.random.default_rng([self._seed, epoch, index])
        image, boxes, classes = self._augmentation(read_image(self._paths[index]), *self._labels[index], rng)
        tensor, (scale_y, scale_x) = self._preprocessor(image)
        limit_y, limit_x = tensor.shape[1:]
        boxes = boxes * np.array([scale_x, scale_y, scale_x, scale_y], np.float32)
        boxes = np.clip(boxes, 0, np.array([limit_x, limit_y, limit_x, limit_y], np.float32))
        keep = ((boxes[:, 2:] - boxes[:, :2]) >= MIN_SIDE).all(axis=1)
        return tensor, boxes[keep], classes[keep]

    def _shuffled(self, epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._paths))


def _labels_of_images(coco: CocoSet, class_index: Mapping[int, int]) -> list[tuple[Boxes, Classes]]:
    rows: dict[int, list[list[float]]] = {image["id"]: [] for image in coco.images}
    for annotation in coco.annotations:
        if not annotation["iscrowd"] and annotation["category_id"] in class_index:
            x, y, w, h = annotation["bbox"]
            rows[annotation["image_id"]].append([x, y, x + w, y + h, class_index[annotation["category_id"]]])
    labels = []
    for image in coco.images:
        table = np.asarray(rows[image["id"]], np.float32).reshape(-1, 5)
        labels.append((np.ascontiguousarray(table[:, :4]), table[:, 4].astype(np.int32)))
    return labels


def prefetch(make: Callable[[int], T], start: int, stop: int, depth: int = 2) -> Generator[T, None, None]:
    """``make(start)``, ..., ``make(stop - 1)``, made ``depth`` ahead in a thread while the caller computes.

    OpenCV and numpy release the interpreter's lock, so a thread is enough. An exception of ``make`` is raised here, at
    its place in the order. Closing the iterator ends the thread.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=depth)
    ended = threading.Event()

    def put(item: tuple[T | None, BaseException | None]) -> bool:
        while not ended.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        for step in range(start, stop):
            try:
                item: tuple[T | None, BaseException | None] = (make(step), None)
            except BaseException as error:  # handed over, not swallowed
                put((None, error))
                return
            if not put(item):
                return

    thread = threading.Thread(target=work, name="loader", daemon=True)
    thread.start()
    try:
        for _ in range(start, stop):
            value, error = ready.get()
            if error is not None:
                raise error
            assert value is not None
            yield value
    finally:
        ended.set()
        thread.join()
