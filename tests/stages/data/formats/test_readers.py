"""One data set in each layout gives the same images, classes and boxes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.data.formats.detect import describe, find, open_source
from stages.data.formats.source import Source
from stages.detection.coco import CocoSet, read_coco
from stages.errors import DataError
from tests.stages.data.formats import writers

WRITERS: dict[str, Callable[[Path, Path], Path]] = {
    "yolo": writers.as_yolo,
    "voc": writers.as_voc,
    "roboflow": writers.as_roboflow,
}


def read(source: Source, split: str, sizes: tuple[int, int]) -> CocoSet:
    return source.read(split, dict.fromkeys(source.splits[split].images, sizes))


def assert_same(found: CocoSet, wanted: CocoSet) -> None:
    assert [i["file_name"] for i in found.images] == [i["file_name"] for i in wanted.images]
    assert [i["id"] for i in found.images] == [i["id"] for i in wanted.images]
    assert found.categories == wanted.categories
    for key in ("id", "image_id", "category_id", "iscrowd"):
        assert [a[key] for a in found.annotations] == [a[key] for a in wanted.annotations]
    for key in ("bbox", "area"):
        np.testing.assert_allclose(
            np.array([a[key] for a in found.annotations]), np.array([a[key] for a in wanted.annotations]), rtol=1e-6
        )


@pytest.mark.parametrize("kind", WRITERS)
def test_a_set_comes_back_as_it_was_written(kind: str, tmp_path: Path) -> None:
    coco = writers.coco_folder(tmp_path / "coco")
    root = WRITERS[kind](coco, tmp_path / kind)
    found = find(root)
    assert found.kind == kind
    source = open_source(kind, found.root)
    assert describe(source).endswith(f"3 training and 3 validation images under {root}")
    for split in writers.SPLITS:
        assert source.names(split) == ["b", "a"]
        assert_same(read(source, split, (40, 20)), read_coco(coco / f"{split}.json"))


@pytest.mark.parametrize("kind", WRITERS)
def test_real_photographs_come_back_as_they_were_written(kind: str, bccd: Path, tmp_path: Path) -> None:
    root = WRITERS[kind](bccd, tmp_path / kind)
    source = open_source(kind, find(root).root)
    for split in writers.SPLITS:
        wanted = read_coco(bccd / f"{split}.json")
        assert_same(read(source, split, (640, 480)), wanted)
        assert source.splits[split].root / wanted.images[0]["file_name"] in source.splits[split].images


def test_our_own_layouts_are_found(tmp_path: Path) -> None:
    coco = writers.coco_folder(tmp_path / "coco")
    assert find(coco).kind == "coco_folder"
    (tmp_path / "2017" / "annotations").mkdir(parents=True)
    (tmp_path / "2017" / "annotations" / "instances_val2017.json").write_text("{}")
    assert find(tmp_path / "2017").kind == "coco"


def test_folders_that_a_zip_wraps_around_a_set_are_entered(tmp_path: Path) -> None:
    root = writers.as_voc(writers.coco_folder(tmp_path / "coco"), tmp_path / "zip" / "VOCdevkit" / "VOC2007")
    (tmp_path / "zip" / "__MACOSX").mkdir()
    (tmp_path / "zip" / ".git").mkdir()
    assert find(tmp_path / "zip").root == root


def test_two_layouts_that_fit_are_named(tmp_path: Path) -> None:
    coco = writers.coco_folder(tmp_path / "coco")
    root = writers.as_voc(coco, tmp_path / "both")
    (root / "data.yaml").write_text("train: images\nnames: [a]\n")
    with pytest.raises(DataError, match=r"YOLO \(data.yaml\) and Pascal VOC \(Annotations.*data=yolo or data=voc"):
        find(root)
    assert find(root, "voc").root == root


def test_nothing_that_fits_names_what_would(tmp_path: Path) -> None:
    writers.picture(tmp_path / "a.png", 0)
    with pytest.raises(DataError, match=r"no data set was recognised in .*data\.yaml.*Annotations"):
        find(tmp_path)


def test_roboflows_group_of_classes_is_a_class_where_it_has_boxes(tmp_path: Path) -> None:
    root = writers.as_roboflow(writers.coco_folder(tmp_path / "coco"), tmp_path / "r")
    file = root / "valid" / "_annotations.coco.json"
    file.write_text(file.read_text().replace('"category_id": 2', '"category_id": 0', 1))
    source = open_source("roboflow", root)
    assert source.names("train") == source.names("val") == ["things", "b", "a"]


def test_roboflows_group_may_share_the_name_of_a_class(tmp_path: Path) -> None:
    root = writers.as_roboflow(writers.coco_folder(tmp_path / "coco"), tmp_path / "r")
    for file in root.rglob("*.json"):
        file.write_text(file.read_text().replace('"things"', '"b"'))
    source = open_source("roboflow", root)
    assert source.names("train") == ["b", "a"]
    assert source.read("val").warnings == []
