"""The stream of unlabeled images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.detection.preprocess import Preprocessor
from stages.detection.sidecar import Sidecar
from stages.detection.unlabeled import UnlabeledImages, listed_paths
from tests.stages.detectors import images


def stream(folder: Path, seed: int = 0, batch: int = 4, mirrored: bool = False) -> UnlabeledImages:
    listed = listed_paths(images(folder, count=6))
    preprocess = Preprocessor(Sidecar(input_size=(64, 48)))
    return UnlabeledImages(listed, preprocess, batch=batch, seed=seed, mirrored=mirrored)


def test_every_image_comes_once_per_pass_also_across_batches(tmp_path: Path) -> None:
    source = stream(tmp_path)
    seen = [index for step in range(6) for index in source.indices(step)]
    for start in range(0, 24, 6):
        assert sorted(seen[start : start + 6]) == list(range(6))
    assert seen[:6] != seen[6:12]


def test_a_step_is_the_same_whatever_came_before(tmp_path: Path) -> None:
    first, second = stream(tmp_path / "a"), stream(tmp_path / "b")
    for step in range(5):
        first.indices(step)
    assert first.indices(5) == second.indices(5)
    other = stream(tmp_path / "c", seed=1)
    assert [other.indices(s) for s in range(4)] != [first.indices(s) for s in range(4)]


def test_kept_images_are_the_ones_read(tmp_path: Path) -> None:
    source = stream(tmp_path)
    image, scale = source.load([2, 0])
    assert image.shape == (2, 3, 64, 48)
    assert scale.shape == (2, 2)
    again, _ = source.load([0, 2])
    np.testing.assert_array_equal(again, image[::-1])


def test_some_are_drawn_by_the_seed_and_at_most_all(tmp_path: Path) -> None:
    source = stream(tmp_path)
    assert len(set(source.some(4))) == 4
    assert sorted(source.some(100)) == list(range(6))
    assert source.some(4) == source.indices(0)


def test_mirrored_each_comes_twice_with_left_and_right_exchanged(tmp_path: Path) -> None:
    source = stream(tmp_path, mirrored=True)
    assert len(source) == 12
    assert sorted(index for step in range(3) for index in source.indices(step)) == list(range(12))
    (plain, mirrored), scale = source.load([2, 8])
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])
    np.testing.assert_array_equal(scale[0], scale[1])
    assert len(stream(tmp_path / "plain")) == 6
