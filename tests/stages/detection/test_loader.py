"""Batches: the same for the same step, boxes where they belong, crowds out, empty images in."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from stages.detection.augment import Augmentation
from stages.detection.coco import CocoSet
from stages.detection.loader import TrainingImages, prefetch
from stages.detection.preprocess import Preprocessor
from stages.detection.sidecar import Sidecar
from stages.errors import DataError

PLAIN = Augmentation(0, 0, 0)


def coco_set(folder: Path) -> CocoSet:
    """Five images of 80x40: ids 3 and 90, a crowd box, an image without boxes, a box outside the frame."""
    images, annotations = [], []
    for i in range(5):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((40, 80, 3), 40 * i, np.uint8))
        images.append({"id": 10 + i, "file_name": f"{i}.png", "width": 80, "height": 40})

    def add(image: int, category: int, box: list[float], crowd: int = 0) -> None:
        number = len(annotations) + 1
        annotations.append(
            {"id": number, "image_id": image, "category_id": category, "bbox": box, "area": 1.0, "iscrowd": crowd}
        )

    add(10, 90, [8, 4, 40, 20])
    add(11, 3, [0, 0, 80, 40])
    add(11, 90, [0, 0, 80, 40], crowd=1)
    add(12, 3, [70, 30, 40, 40])
    add(12, 3, [200, 10, 20, 20])  # outside the frame: nothing of it is left
    add(14, 90, [1, 1, 10, 10])
    return CocoSet(images, annotations, [{"id": 3, "name": "a"}, {"id": 90, "name": "b"}])


def loader(folder: Path, *, seed: int = 0, batch: int = 2, augmentation: Augmentation = PLAIN) -> TrainingImages:
    preprocessor = Preprocessor(Sidecar((64, 64), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
    return TrainingImages(folder, coco_set(folder), preprocessor, augmentation, batch=batch, seed=seed)


def test_labels_follow_the_images(tmp_path: Path) -> None:
    got = {}
    source = loader(tmp_path, batch=5)
    batch = source.batch(0)
    assert batch.image.shape == (5, 3, 64, 64) and batch.image.dtype == np.float32
    for i in range(5):
        which = round(float(batch.image[i].mean()) * 255 / 40)
        real = batch.pad_gt_mask[i, :, 0] == 1
        got[which] = (batch.gt_class[i, real, 0].tolist(), batch.gt_bbox[i, real].tolist())
        assert (batch.gt_bbox[i, ~real] == 0).all()
    sx, sy = 64 / 80, 64 / 40
    np.testing.assert_allclose(got[0][1], [[8 * sx, 4 * sy, 48 * sx, 24 * sy]])
    assert got[0][0] == [1], "category 90 is the second in order of id"
    assert got[1] == ([0], [[0, 0, 64, 64]]), "the crowd box is no target"
    np.testing.assert_allclose(got[2][1], [[70 * sx, 30 * sy, 64, 64]])  # clipped to the input
    assert got[3] == ([], []), "an image without boxes stays"
    assert got[4][0] == [1]


def test_a_batch_without_any_box_is_padded_to_one(tmp_path: Path) -> None:
    coco = coco_set(tmp_path)
    empty = CocoSet(coco.images[3:4], [], coco.categories)
    source = TrainingImages(tmp_path, empty, Preprocessor(Sidecar((64, 64))), PLAIN, batch=2, seed=0)
    batch = source.batch(0)
    assert batch.gt_bbox.shape == (2, 1, 4)
    assert batch.pad_gt_mask.sum() == 0


def test_a_step_is_always_the_same_batch(tmp_path: Path) -> None:
    strong = Augmentation(0.5, 0.5, 0.5)
    one, two = loader(tmp_path, augmentation=strong), loader(tmp_path, augmentation=strong)
    later = two.batch(7)  # without having made the ones before
    earlier = [one.batch(s) for s in range(8)][7]
    np.testing.assert_array_equal(earlier.image, later.image)
    np.testing.assert_array_equal(earlier.gt_bbox, later.gt_bbox)
    other = loader(tmp_path, seed=1, augmentation=strong).batch(7)
    assert other.image.shape == later.image.shape and (other.image != later.image).any()


def test_every_image_comes_once_per_epoch(tmp_path: Path) -> None:
    source = loader(tmp_path, batch=2)
    values = [round(float(image.mean()) * 255 / 40) for step in range(5) for image in source.batch(step).image]
    assert sorted(values[:5]) == sorted(values[5:]) == [0, 1, 2, 3, 4]
    assert values[:5] != values[5:], "another order in the next epoch"


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    source = loader(tmp_path, batch=5)
    (tmp_path / "2.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2\.png"):
        list(prefetch(source.batch, 0, 3))


@pytest.mark.timing
def test_prefetch_keeps_order_and_overlaps() -> None:
    def slow(step: int) -> int:
        time.sleep(0.05)
        return step

    started = time.perf_counter()
    got = []
    for value in prefetch(slow, 3, 11):
        time.sleep(0.05)  # as long as making one takes
        got.append(value)
    assert got == list(range(3, 11))
    assert time.perf_counter() - started < 8 * 0.1


def test_prefetch_ends_its_thread() -> None:
    items = prefetch(lambda step: step, 0, 1000)
    assert next(items) == 0
    items.close()
    assert not [t for t in threading.enumerate() if t.name == "loader"]


def test_prefetch_raises_at_the_right_place() -> None:
    def make(step: int) -> int:
        if step == 2:
            raise DataError("third")
        return step

    got = []
    with pytest.raises(DataError, match="third"):
        for value in prefetch(make, 0, 5):
            got.append(value)
    assert got == [0, 1]
