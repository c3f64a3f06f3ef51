"""What `make bench-rounding` says, on scores that are made up, and the copies that it draws."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.benchmarks import rounding


def test_the_difference_is_the_mean_over_the_copies_with_its_interval() -> None:
    draws = [{"openvino": {"fp32": 56.0 + d, "bf16": 56.0 + d + e}} for d, e in ((0.0, 0.3), (0.2, -0.2), (-0.2, 0.05))]
    said = rounding.result(draws)
    told = said["difference"]["openvino bf16"]
    assert (told["mean"], told["smallest"], told["largest"]) == (0.05, -0.2, 0.3)
    assert told["low"] == pytest.approx(0.05 - 4.303 * 0.25 / 3**0.5, abs=1e-3) and told["high"] > 0.3
    assert (said["fp32"], said["draws"]) == (0.2, 3)
    assert "low" not in rounding.result(draws[:1])["difference"]["openvino bf16"]


def test_a_copy_differs_by_one_grey_level_and_the_first_by_none(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "val").mkdir(parents=True)
    (source / "train").mkdir()
    (source / "train.json").write_text("{}")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    cv2.imwrite(str(source / "val" / "a.png"), pixels)
    (source / "val.json").write_text(json.dumps({"images": [{"id": 1, "file_name": "a.png"}]}))
    for draw, largest in ((0, 0), (1, 1)):
        out = rounding.noisy(source, tmp_path / str(draw), draw)
        (image,) = json.loads((out / "val.json").read_text())["images"]
        moved = cv2.imread(str(out / "val" / image["file_name"])).astype(int) - pixels
        assert np.abs(moved).max() == largest and (out / "train").is_dir()
