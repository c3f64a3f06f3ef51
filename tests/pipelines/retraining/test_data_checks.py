"""Which images and labels are refused beside those accepted last, and what of a change counts."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipelines.config.options.retrain import RetrainOptions
from pipelines.config.schema import PipelineConfig
from pipelines.retraining import data_checks, snapshot
from stages.errors import DataError


def files(count: int, start: int = 0) -> dict[str, list[Any]]:
    return {f"{i}.png": [10, 1, f"sha-{i}"] for i in range(start, start + count)}


def labels(classes: list[str], images: int, boxes: int, boxed: int) -> dict[str, Any]:
    return {"sha256": f"{classes}{images}{boxes}", "classes": classes, "images": images, "boxes": boxes, "boxed": boxed}


@pytest.fixture
def before() -> snapshot.Snapshot:
    return {
        "images": {"unlabeled": files(100), "val": files(50, 1000)},
        "labels": {"val": labels(["cat", "dog"], 50, 200, 48)},
        "checkpoint": "c",
        "packages": {"onnx": "1"},
        "driver": {"driver": None, "hardware": "a processor"},
        "config": {"seed": 0},
    }


def refused(before: snapshot.Snapshot | None, now: snapshot.Snapshot, config: PipelineConfig | None = None) -> str:
    with pytest.raises(DataError) as error:
        data_checks.check(before, now, config or PipelineConfig())
    assert "retrain.check_drop=false" in str(error.value)
    return str(error.value)


def test_what_was_accepted_is_accepted_again(before: snapshot.Snapshot) -> None:
    # It raises DataError otherwise.
    data_checks.check(before, copy.deepcopy(before), PipelineConfig())
    data_checks.check(None, before, PipelineConfig())


def test_a_tenth_of_the_usual_size_is_refused(before: snapshot.Snapshot) -> None:
    now = copy.deepcopy(before)
    now["images"]["unlabeled"] = files(10)
    assert "unlabeled has 10 images, it had 100" in refused(before, now)
    config = PipelineConfig()
    config.retrain.min_share = 0.1
    data_checks.check(before, now, config)


def test_empty_labels_are_refused(before: snapshot.Snapshot) -> None:
    now = copy.deepcopy(before)
    now["labels"]["val"] = labels(["cat", "dog"], 90, 200, 48)
    assert "name 40 more images, and none of them has a box" in refused(before, now)
    now["labels"]["val"] = labels(["cat", "dog"], 50, 3, 2)
    assert "have 3 boxes, they had 200" in refused(before, now)


def test_labels_of_another_class_list_are_refused(before: snapshot.Snapshot) -> None:
    now = copy.deepcopy(before)
    now["labels"]["val"] = labels(["dog", "cat"], 50, 200, 48)
    assert "the labels of val have the classes dog, cat, where were accepted last for val cat, dog" in refused(
        before, now
    )
    now = copy.deepcopy(before)
    now["labels"]["train"] = labels(["car"], 50, 200, 48)
    assert "the labels of train have the classes car, where the validation set has cat, dog" in refused(None, now)


def test_corrupt_new_images_are_refused_however_many_good_old_ones_there_are(
    before: snapshot.Snapshot, tmp_path: Path
) -> None:
    now = copy.deepcopy(before)
    config = PipelineConfig()
    config.data.unlabeled_images = str(tmp_path)
    for i in (100, 101):
        (tmp_path / f"{i}.png").write_bytes(b"nothing")
        now["images"]["unlabeled"][f"{i}.png"] = [7, 1, f"sha-{i}"]
    assert "2 of 2 new images cannot be read" in refused(before, now, config)
    del now["images"]["unlabeled"]["101.png"]
    data_checks.check(before, now, config)  # one alone is left out by the stage that collects them


def test_every_reason_is_told_at_once(before: snapshot.Snapshot) -> None:
    now = copy.deepcopy(before)
    now["images"]["unlabeled"] = files(10)
    now["labels"]["val"] = labels(["car"], 50, 3, 2)
    assert refused(before, now).count("; ") == 2


def test_what_is_watched_counts(before: snapshot.Snapshot) -> None:
    now = copy.deepcopy(before)
    options = RetrainOptions()
    assert snapshot.changed(before, now, options) == []
    now["images"]["unlabeled"] = {**files(99), "new.png": [10, 1, "sha-new"]}
    assert snapshot.changed(before, now, options) == ["images of unlabeled: 1 new, 1 gone"]
    options.min_images = 3
    assert snapshot.changed(before, now, options) == []
    now = copy.deepcopy(before)
    now |= {"checkpoint": "d", "packages": {"onnx": "2"}, "config": {"seed": 1}}
    now["labels"]["val"]["sha256"] = "other"
    assert snapshot.changed(before, now, options) == [
        "the labels of val are others",
        "the checkpoint is another",
        "onnx 1 -> 2",
        "seed 0 -> 1",
    ]
    options.watch.labels = options.watch.checkpoint = options.watch.packages = False
    assert snapshot.changed(before, now, options) == ["seed 0 -> 1"]


def test_calibration_images_are_watched(tmp_path: Path) -> None:
    config = PipelineConfig()
    for folder in ("val", "calibration"):
        (tmp_path / folder).mkdir()
    (tmp_path / "calibration" / "a.png").write_bytes(b"a")
    config.data.val_images, config.data.calibration_images = str(tmp_path / "val"), str(tmp_path / "calibration")
    assert snapshot._splits(config)["calibration"] == (config.data.calibration_images, None)
    before = {"images": {"calibration": _calibration_files(config)}}
    (tmp_path / "calibration" / "b.png").write_bytes(b"b")
    now = {"images": {"calibration": _calibration_files(config)}}
    assert snapshot._images(before["images"], now["images"], 1) == ["images of calibration: 1 new"]
    config.compression.method = "none"
    assert "calibration" not in snapshot._splits(config)  # nothing is quantized


def _calibration_files(config: PipelineConfig) -> dict[str, list[Any]]:
    folder = str(config.data.calibration_images)
    return snapshot._files(Path(folder), snapshot._images_of("calibration", folder, None), {})


def test_label_files_that_are_no_coco_are_left_to_the_stage_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text("[")
    assert snapshot.label_summary(path)["classes"] == []
    path.write_text(
        json.dumps({"images": [{}], "annotations": [{"image_id": 1}] * 2, "categories": [{"id": 1, "name": "a"}]})
    )
    told = snapshot.label_summary(path)
    assert (told["classes"], told["images"], told["boxes"], told["boxed"]) == (["a"], 1, 2, 1)


def test_what_is_no_file_among_watched_images_is_left_to_the_stage_that_says_so(tmp_path: Path) -> None:
    """Nobody waits for a pipe that nobody writes to."""
    (tmp_path / "a.png").write_bytes(b"x")
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to("/dev/zero")
    found = snapshot._images_of("unlabeled", str(tmp_path), None)
    assert [path.name for path in found] == ["a.png", "b.png", "c.png"]
    assert list(snapshot._files(tmp_path, found, {})) == ["a.png"]
