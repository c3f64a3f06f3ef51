"""Labels in COCO's form: what is accepted, put right, or refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from stages.detection.coco import COCO_LABELS, missing_files, read_coco, read_labels
from stages.errors import DataError

GOOD: dict[str, Any] = {
    "images": [
        {"id": 30, "file_name": "c.jpg", "width": 20, "height": 10},
        {"id": 7, "file_name": "sub/a.jpg", "width": 20, "height": 10},
        {"id": 12, "file_name": "empty.jpg"},
    ],
    "annotations": [
        {"id": 5, "image_id": 7, "category_id": 90, "bbox": [1, 2, 3, 4], "area": 6, "iscrowd": 0, "segmentation": []},
        {"id": 6, "image_id": 30, "category_id": 3, "bbox": [0, 0, 20, 10], "iscrowd": 1},
    ],
    "categories": [{"id": 90, "name": "zebra"}, {"id": 3, "name": "ant"}, {"id": 17, "name": "bee"}],
}


def write(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "labels.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def changed(where: str, index: int, **values: Any) -> dict[str, Any]:
    content = copy.deepcopy(GOOD)
    content[where][index].update(values)
    return content


def test_non_contiguous_ids_crowds_and_images_without_boxes(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    coco = read_coco(path)
    assert coco.labels == read_labels(path) == ["ant", "bee", "zebra"]
    assert coco.category_ids == [3, 17, 90]
    assert coco.class_index == {3: 0, 17: 1, 90: 2}
    assert [i["id"] for i in coco.images] == [7, 12, 30]
    assert [(a["id"], a["area"], a["iscrowd"]) for a in coco.annotations] == [(5, 6.0, 0), (6, 200.0, 1)]
    assert coco.warnings == []
    only = coco.subset([coco.images[1], coco.images[2]])
    assert [a["id"] for a in only.annotations] == [6]
    assert only.labels == coco.labels


def test_boxes_without_area_are_dropped_and_counted(tmp_path: Path) -> None:
    coco = read_coco(write(tmp_path, changed("annotations", 0, bbox=[1, 2, 0, 4])))
    assert [a["id"] for a in coco.annotations] == [6]
    assert "1 boxes without width or height" in coco.warnings[0]


@pytest.mark.parametrize("value", [0, 6, None, "x"])
def test_ids_pycocotools_cannot_match_are_numbered_anew(tmp_path: Path, value: object) -> None:
    coco = read_coco(write(tmp_path, changed("annotations", 0, id=value)))
    assert [a["id"] for a in coco.annotations] == [1, 2]
    assert "numbered anew" in coco.warnings[0]


def test_equal_names_are_told_apart(tmp_path: Path) -> None:
    coco = read_coco(write(tmp_path, changed("categories", 0, name="ant")))
    assert coco.labels == ["ant (3)", "bee", "ant (90)"]
    assert "same name: ant" in coco.warnings[0]


def test_missing_files_are_listed(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").touch()
    assert missing_files(read_coco(write(tmp_path, GOOD)).images, tmp_path) == ["empty.jpg", "c.jpg"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not valid JSON"),
        ([{"image_id": 1}], "hold a list"),
        ({"images": []}, "no list annotations, categories"),
        ({**GOOD, "categories": []}, "name no category"),
        ({**GOOD, "images": []}, "list no image"),
        ({**GOOD, "images": [1]}, "no objects"),
        (changed("categories", 0, id=3), "ids given twice: 3"),
        (changed("categories", 0, id="a"), "whole-number id"),
        (changed("images", 0, id=7), "same id: 7"),
        (changed("images", 0, file_name="empty.jpg"), "same file_name: empty.jpg"),
        (changed("images", 0, file_name=None), "file_name"),
        (changed("annotations", 0, image_id=8), r"unknown images: 5 \(image_id 8\)"),
        (changed("annotations", 0, image_id=[8]), "unknown images"),
        (changed("annotations", 0, category_id=1), r"unknown categories: 5 \(category_id 1\)"),
        (changed("annotations", 0, bbox=[1, 2, 3]), "four numbers: 5"),
        (changed("annotations", 0, bbox=[1, 2, 3, float("nan")]), "four numbers: 5"),
        (changed("annotations", 0, bbox=None), "four numbers: 5"),
    ],
)
def test_wrong_labels_are_refused_with_the_file_and_the_cases(tmp_path: Path, content: object, says: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError, match=says) as caught:
        read_coco(path)
    assert str(path) in str(caught.value)


def test_several_kinds_of_problems_are_told_at_once_and_long_lists_are_cut(tmp_path: Path) -> None:
    content = copy.deepcopy(GOOD)
    content["annotations"] = [{"id": i, "image_id": 99, "category_id": 3, "bbox": [1, 1, 1, 1]} for i in range(1, 21)]
    content["annotations"].append({"id": 21, "image_id": 7, "category_id": 3, "bbox": "x"})
    with pytest.raises(DataError, match=r"and 15 more.*four numbers: 21"):
        read_coco(write(tmp_path, content))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.json cannot be read"):
        read_labels(tmp_path / "nothing.json")


def test_real_labels(bccd: Path) -> None:
    coco = read_coco(bccd / "val.json")
    assert (len(coco.images), len(coco.annotations)) == (159, 2082)
    assert set(coco.labels) == {"RBC", "WBC", "Platelets"}
    assert not missing_files(coco.images, bccd / "val")


def test_cocos_own_classes() -> None:
    assert len(set(COCO_LABELS)) == 80
    assert (COCO_LABELS[0], COCO_LABELS[9], COCO_LABELS[79]) == ("person", "traffic light", "toothbrush")
