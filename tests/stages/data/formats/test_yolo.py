"""YOLO: paths as other machines write them, lines that are wrong, files that do not belong together."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.data.formats.detect import find, open_source
from stages.data.formats.source import Source
from stages.data.formats.yolo import parse_line
from stages.errors import DataError
from tests.stages.data.formats import writers


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return writers.as_yolo(writers.coco_folder(tmp_path / "coco"), tmp_path / "yolo")


def opened(root: Path) -> Source:
    return open_source("yolo", find(root, "yolo").root)


def boxes(source: Source, split: str = "train") -> list[list[float]]:
    sizes = dict.fromkeys(source.splits[split].images, (40, 20))
    return [a["bbox"] for a in source.read(split, sizes).annotations]


def one_image(root: Path, labels: str | bytes = "0 0.5 0.5 0.5 0.5\n", names: str = "[a, b]") -> Path:
    writers.picture(root / "images" / "train" / "a.png", 0)
    (root / "labels" / "train").mkdir(parents=True)
    data = labels if isinstance(labels, bytes) else labels.encode()
    (root / "labels" / "train" / "a.txt").write_bytes(data)
    (root / "data.yaml").write_text(f"train: images/train\nnames: {names}\n")
    return root


@pytest.mark.parametrize(
    "written",
    [
        "images/train",
        "./images/train",
        "../images/train",
        "images\\train",
        "D:\\sets\\yolo\\images\\train",
        "/mnt/sets/yolo/images/train",
        "[images/train]",
    ],
)
def test_paths_of_other_machines_are_found_below_the_root(root: Path, written: str) -> None:
    quoted = written if written.startswith("[") else f"'{written}'"
    (root / "data.yaml").write_text(f"path: /gone/datasets/yolo\ntrain: {quoted}\nval: images/val\nnames: [b, a]\n")
    source = opened(root)
    assert source.splits["train"].root == root / "images" / "train"
    assert [image.name for image in source.splits["train"].images] == ["train_0.png", "train_1.png", "train_2.png"]


def test_the_sets_own_folder_goes_before_a_sibling_of_it(root: Path, tmp_path: Path) -> None:
    writers.picture(tmp_path / "train" / "images" / "other.png", 5)
    writers.picture(root / "train" / "images" / "own.png", 6)
    (root / "train" / "labels").mkdir()
    (root / "train" / "labels" / "own.txt").write_text("0 0.5 0.5 1 1")
    (root / "data.yaml").write_text("train: ../train/images\nnames: [a]\n")
    assert opened(root).splits["train"].root == root / "train" / "images"


def test_a_path_that_is_nowhere_is_an_error(root: Path) -> None:
    (root / "data.yaml").write_text("train: nowhere/images_of_mine\nnames: [b, a]\n")
    with pytest.raises(DataError, match=r"data\.yaml: train names nowhere/images_of_mine, which is neither there"):
        opened(root)


def test_a_list_of_images_is_a_split(root: Path) -> None:
    (root / "data.yaml").write_text("train: train.txt\nval: images/val\nnames: {0: b, 1: a}\n")
    (root / "train.txt").write_text("./images/train/train_0.png\r\n/far/away/images/train/train_1.png\r\n")
    assert [p.name for p in opened(root).splits["train"].images] == ["train_0.png", "train_1.png"]
    (root / "train.txt").write_text("images/train/train_0.png\nimages/train/gone.png\n")
    with pytest.raises(DataError, match=r"train\.txt:2: there is no image images/train/gone\.png"):
        opened(root)


def test_valid_is_the_validation_split_and_test_if_there_is_no_other(root: Path) -> None:
    (root / "data.yaml").write_text("train: images/train\ntest: images/val\nnames: [b, a]\n")
    source = opened(root)
    assert set(source.splits) == {"train", "val"}
    assert source.notes == ["data.yaml has no val; test is scored on"]


def test_folders_beside_a_list_of_classes_need_no_yaml(root: Path) -> None:
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_bytes(b"\xef\xbb\xbfb\r\na\r\n")
    assert find(root).kind == "yolo"
    source = opened(root)
    assert set(source.splits) == {"train", "val"}
    assert source.names("train") == ["b", "a"]


def test_labels_beside_their_images_and_one_split(tmp_path: Path) -> None:
    writers.picture(tmp_path / "a.PNG", 0)
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.5 0.5")
    (tmp_path / "classes.txt").write_text("thing\n")
    source = opened(tmp_path)
    assert list(source.splits) == ["train"]
    assert boxes(source) == [[10, 5, 20, 10]]


def test_labels_without_names_say_what_to_write(root: Path) -> None:
    (root / "data.yaml").unlink()
    assert find(root).kind == "yolo"
    with pytest.raises(DataError, match=r"names no class.*data\.yaml.*classes\.txt"):
        opened(root)


def test_odd_names_hidden_folders_and_endings(tmp_path: Path) -> None:
    root = one_image(tmp_path)
    for name in ("naïve 例.JPG", ".hidden/x.png"):
        writers.picture(root / "images" / "train" / name, 3)
    (root / "labels" / "train" / "naïve 例.txt").write_bytes(b"\xef\xbb\xbf1 0.5 0.5 1 1\r\n\r\n")
    source = opened(root)
    assert [p.name for p in source.splits["train"].images] == ["a.png", "naïve 例.JPG"]
    assert boxes(source) == [[10, 5, 20, 10], [0, 0, 40, 20]]


@pytest.mark.parametrize("folders", [("Images", "Labels"), ("IMAGES", "LABELS"), ("Images", "labels")])
def test_upper_case_folders(folders: tuple[str, str], tmp_path: Path) -> None:
    writers.picture(tmp_path / folders[0] / "a.png", 0)
    (tmp_path / folders[1]).mkdir()
    (tmp_path / folders[1] / "a.txt").write_text("0 0.5 0.5 0.5 0.5")
    (tmp_path / "data.yml").write_text(f"train: {folders[0]}\nnames: [a]\n")
    assert boxes(opened(tmp_path)) == [[10, 5, 20, 10]]


def test_a_polygon_is_its_hulls_box() -> None:
    assert parse_line("1 0.1 0.2 0.5 0.1 0.3 0.9", 2) == (1, (0.1, 0.1, 0.5, 0.9))


def test_images_without_labels_have_no_boxes(tmp_path: Path) -> None:
    root = one_image(tmp_path)
    for name in ("empty.png", "missing.png"):
        writers.picture(root / "images" / "train" / name, 1)
    (root / "labels" / "train" / "empty.txt").touch()
    source = opened(root)
    content = source.read("train", dict.fromkeys(source.splits["train"].images, (40, 20)))
    assert [i["file_name"] for i in content.images] == ["a.png", "empty.png", "missing.png"]
    assert {a["image_id"] for a in content.annotations} == {1}


def test_no_label_file_at_all_is_an_error(tmp_path: Path) -> None:
    root = one_image(tmp_path)
    (root / "labels" / "train" / "a.txt").unlink()
    with pytest.raises(
        DataError, match=r"none of the images.*images/train/a\.png was looked for as labels/train/a\.txt"
    ):
        opened(root)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.5 0.5 0.5", "5 numbers expected, got 4"),
        ("0 0.5 0.5 0.5 0.5 0.9", "5 numbers expected, got 6"),
        ("cat 0.5 0.5 0.5 0.5", "'cat' is no number"),
        ("2 0.5 0.5 0.5 0.5", r"class 2 is none of the 2 classes \(0 to 1\)"),
        ("0.5 0.5 0.5 0.5 0.5", r"class 0\.5 is none of the 2 classes"),
        ("-1 0.5 0.5 0.5 0.5", "class -1 is none of the 2 classes"),
        ("0 0.5 1.02 0.5 0.5", r"1\.02 outside 0\.\.1"),
        ("0 320 240 64 48", r"320, 240, 64, 48 outside 0\.\.1"),
        ("0 nan 0.5 0.5 0.5", r"nan outside 0\.\.1"),
    ],
)
def test_a_wrong_line_is_told_with_its_place(line: str, said: str, tmp_path: Path) -> None:
    root = one_image(tmp_path, f"0 0.5 0.5 0.5 0.5\r\n\r\n{line}\r\n")
    with pytest.raises(DataError, match=rf"have a problem: labels/train/a\.txt:3: {said}"):
        boxes(opened(root))


def test_many_wrong_lines_are_told_at_once_and_cut(tmp_path: Path) -> None:
    root = one_image(tmp_path, "0 0.5\n" * 8)
    with pytest.raises(DataError, match=r"8 problems: labels/train/a\.txt:1: .*a\.txt:5: .* and 3 more"):
        boxes(opened(root))


def test_rounding_beyond_the_border_is_taken(tmp_path: Path) -> None:
    assert boxes(opened(one_image(tmp_path, "0 0.5 0.5 1.000001 1\n")))[0] == pytest.approx([0, 0, 40, 20], abs=1e-4)


def test_boxes_without_area_are_left_out_and_counted(tmp_path: Path) -> None:
    source = opened(one_image(tmp_path, "0 0.5 0.5 0 0.5\n0 0.5 0.5 0.5 0.5\n"))
    content = source.read("train", dict.fromkeys(source.splits["train"].images, (40, 20)))
    assert len(content.annotations) == 1
    assert content.warnings == ["1 boxes without width or height were left out: labels/train/a.txt:1"]


def test_two_images_of_one_label_file_are_an_error(tmp_path: Path) -> None:
    root = one_image(tmp_path)
    writers.picture(root / "images" / "train" / "a.jpg", 1)
    with pytest.raises(DataError, match=r"labels/train/a\.txt: is the label file of 2 images \(a\.jpg, a\.png\)"):
        boxes(opened(root))


def test_labels_without_an_image_are_an_error(tmp_path: Path) -> None:
    root = one_image(tmp_path)
    (root / "labels" / "train" / "gone.txt").write_text("0 0.5 0.5 0.5 0.5")
    (root / "labels" / "train" / "notes.txt").write_text("drawn by hand")
    with pytest.raises(DataError, match=r"have a problem: labels/train/gone\.txt: there is no image"):
        boxes(opened(root))


def test_an_encoding_that_is_not_utf8_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.txt is not UTF-8"):
        boxes(opened(one_image(tmp_path, "0 0.5 0.5 0.5 0.5 \u00e9".encode("latin-1"))))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: images/train\nnames: {0: a, 2: b}\n", "names has the indices 0, 2"),
        ("train: images/train\nnames: {a: 0}\n", "no class index"),
        ("train: images/train\nnames: [a, a]\n", "names classes twice: a"),
        ("train: images/train\nnames: []\n", "names no class"),
        ("train: images/train\nnames: [a, b]\nnc: 3\n", "nc is 3, and names lists 2"),
        ("names: [a, b]\n", "names no images"),
        ("train: [\n", r"data\.yaml:\d+: no valid YAML"),
    ],
)
def test_a_wrong_yaml_is_told(text: str, said: str, tmp_path: Path) -> None:
    root = one_image(tmp_path)
    (root / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=said):
        opened(root)


def test_numbers_are_names_too(tmp_path: Path) -> None:
    assert opened(one_image(tmp_path, names="{'1': 7, 0: 8}")).names("train") == ["8", "7"]
