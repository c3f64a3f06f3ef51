"""Labels in COCO's form: what is accepted, put right, or refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.data.named_images import missing_files, with_native_separators
from stages.detection.coco import COCO_LABELS, read_coco, read_labels
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
    assert coco.labels == read_labels(path) == ["zebra", "ant", "bee"], (
        "PaddleDetection numbers classes as the file does"
    )
    assert coco.category_ids == [90, 3, 17]
    assert coco.class_index(coco.labels) == {90: 0, 3: 1, 17: 2}
    assert coco.class_index(["zebra", "cow", "ant"]) == {90: 0, 3: 2}
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
    assert coco.labels == ["ant (90)", "ant (3)", "bee"]
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
        (changed("annotations", 0, bbox=[1, 2, 3, 10**400]), "four numbers: 5"),
        (changed("annotations", 0, iscrowd="perhaps"), r"neither 0 nor 1: 5 \(iscrowd 'perhaps'\)"),
        (changed("annotations", 0, category_id="90"), "unknown categories"),
        (changed("categories", 0, id=2**70), "whole-number id"),
        (changed("images", 0, id=True), "without an id"),
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


def test_ids_as_pandas_writes_them_are_taken(tmp_path: Path) -> None:
    content = copy.deepcopy(GOOD)
    for image in content["images"]:
        image["id"] = float(image["id"])
    for annotation in content["annotations"]:
        annotation |= {"image_id": float(annotation["image_id"]), "category_id": float(annotation["category_id"])}
    assert read_coco(write(tmp_path, content)) == read_coco(write(tmp_path, GOOD))


@pytest.mark.parametrize("make", [lambda i: f"00{i}", lambda i: 2**128 - i, lambda i: 2**60 + i])
def test_image_ids_that_other_tools_cannot_hold_are_given_anew(tmp_path: Path, make: Callable[[int], object]) -> None:
    content = copy.deepcopy(GOOD)
    for image in content["images"]:
        image["id"] = make(image["id"])
    for annotation in content["annotations"]:
        annotation["image_id"] = make(annotation["image_id"])
    coco = read_coco(write(tmp_path, content))
    assert [(i["id"], i["file_name"]) for i in coco.images] == [(1, "c.jpg"), (2, "sub/a.jpg"), (3, "empty.jpg")]
    assert [(a["image_id"], a["category_id"]) for a in coco.annotations] == [(2, 90), (1, 3)]
    assert "numbered anew" in coco.warnings[0]


def test_flags_and_areas_mean_what_they_say(tmp_path: Path) -> None:
    content = changed("annotations", 0, iscrowd="0", area="6")
    content["annotations"][1] |= {"iscrowd": 1.0, "area": float("inf")}
    found = read_coco(write(tmp_path, content)).annotations
    assert [(a["iscrowd"], a["area"]) for a in found] == [(0, 12.0), (1, 200.0)]


def test_of_a_large_file_only_the_categories_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.detection.coco_parts.LARGE", 100)
    monkeypatch.setattr("stages.detection.coco.load_coco", lambda path: pytest.fail("the whole file was read"))
    assert read_labels(write(tmp_path, GOOD)) == ["zebra", "ant", "bee"]


@pytest.mark.parametrize("name", ['the "categories"', "ant"])
def test_a_large_file_that_is_not_plain_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The word stands in it twice: quotes in a name are escaped in JSON, a second key is not."""
    monkeypatch.setattr("stages.detection.coco_parts.LARGE", 100)
    content = json.dumps({**changed("categories", 1, name=name), "info": {"categories": [{"id": 1, "name": "no"}]}})
    assert read_labels(write(tmp_path, content)) == ["zebra", name, "bee"]


def test_names_of_files_from_windows(tmp_path: Path) -> None:
    content = changed("images", 1, file_name="sub\\a.jpg")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").touch()
    images = read_coco(write(tmp_path, content)).images
    assert with_native_separators(images, tmp_path) == ["sub\\a.jpg"]
    assert missing_files(images, tmp_path) == ["empty.jpg", "c.jpg"]


def test_real_labels(bccd: Path) -> None:
    coco = read_coco(bccd / "val.json")
    assert (len(coco.images), len(coco.annotations)) == (159, 2082)
    assert set(coco.labels) == {"RBC", "WBC", "Platelets"}
    assert not missing_files(coco.images, bccd / "val")


def test_cocos_own_classes() -> None:
    assert len(set(COCO_LABELS)) == 80
    assert (COCO_LABELS[0], COCO_LABELS[9], COCO_LABELS[79]) == ("person", "traffic light", "toothbrush")
