"""The drawn data set: the same for ever, labelled tightly, its splits disjoint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from stages.artifacts import sha256_of
from stages.data.draw import Draw
from stages.detection.images import read_image
from stages.detection.shapes import LABELS, SPLITS, draw_image
from stages.errors import ConfigError
from stages.options.data import ShapesOptions
from tests.fakes import FakeContext


@pytest.mark.paddle
def test_pixels_and_boxes_are_those_the_demo_checkpoint_was_trained_on() -> None:
    digest = hashlib.sha256()
    for split in SPLITS:
        for number in range(6):
            image, boxes = draw_image(7, split, number, 320, 320)
            digest.update(image.tobytes())
            digest.update(repr(boxes).encode())
    assert digest.hexdigest() == "e8d04090def980fbb5f8548cd395efa77f2f3dfbd3b60fc6b4cfbe5e6a180060"


def test_boxes_lie_inside_and_every_class_and_empty_images_occur() -> None:
    seen: set[int] = set()
    empty = 0
    for number in range(60):
        image, boxes = draw_image(3, "train", number, 200, 260)
        assert image.shape == (200, 260, 3)
        assert image.dtype == np.uint8
        empty += not boxes
        for box in boxes:
            seen.add(box.label)
            assert box.x >= 0
            assert box.y >= 0
            assert box.x + box.width <= 260
            assert box.y + box.height <= 200
            assert min(box.width, box.height) > 3
    assert seen == set(range(len(LABELS)))
    assert 0 < empty < 30


def test_draw_writes_a_coco_set_and_the_same_bytes_again(tmp_path: Path) -> None:
    options = ShapesOptions(train=4, unlabeled=3, val=3, size=[96, 128])
    first = FakeContext(tmp_path / "a", seed=1)
    drawn = Draw(options).run(Draw.Inputs(), first)
    again = Draw(options).run(Draw.Inputs(), FakeContext(tmp_path / "b", seed=2))
    assert drawn.files == again.files
    assert len(drawn.files) == 4 + 3 + 3 + 2
    assert first.progress_calls[-1][:2] == (10, 10)
    coco = json.loads(drawn.path("train.json").read_text())
    assert [c["name"] for c in coco["categories"]] == list(LABELS)
    assert len(coco["images"]) == 4
    for image in coco["images"]:
        pixels = read_image(drawn.path(f"train/{image['file_name']}"))
        assert pixels.shape == (image["height"], image["width"], 3) == (96, 128, 3)


def test_splits_and_seeds_share_no_image(tmp_path: Path) -> None:
    options = ShapesOptions(train=5, unlabeled=5, val=5, size=[96, 96])
    drawn = Draw(options).run(Draw.Inputs(), FakeContext(tmp_path))
    images = [sha256_of(drawn.path(name)) for name in drawn.files if name.endswith(".jpg")]
    assert len(set(images)) == 15
    assert not np.array_equal(draw_image(7, "val", 0, 96, 96)[0], draw_image(8, "val", 0, 96, 96)[0])


def test_impossible_options_are_all_named(context: FakeContext) -> None:
    with pytest.raises(ConfigError) as caught:
        Draw(ShapesOptions(train=0, size=[320], seed=-1)).run(Draw.Inputs(), context)
    assert len(caught.value.problems) == 3
