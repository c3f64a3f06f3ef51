"""Pascal VOC: corners that belong to the box, difficult objects, lists of several makers, files that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.data.formats.detect import find, open_source
from stages.data.formats.source import Source
from stages.errors import DataError
from tests.stages.data.formats import writers
from tests.stages.data.formats.writers import voc_object, voc_xml


def opened(root: Path) -> Source:
    return open_source("voc", find(root, "voc").root)


def plain(root: Path, objects: list[str], stem: str = "a") -> Path:
    """An image with its labels, in no list."""
    for folder in ("Annotations", "JPEGImages"):
        (root / folder).mkdir(exist_ok=True)
    writers.picture(root / "JPEGImages" / f"{stem}.png", 0)
    voc_xml(root / "Annotations" / f"{stem}.xml", 40, 20, objects)
    return root


def lists(root: Path, **stems: str) -> Path:
    (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    for name, text in stems.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    return root


def test_pixels_count_from_one_and_corners_belong_to_the_box(tmp_path: Path) -> None:
    root = plain(tmp_path, [voc_object("a", 1, 1, 40, 20), voc_object("a", 3, 5, 3, 5)])
    assert [a["bbox"] for a in opened(root).read("train").annotations] == [[0, 0, 40, 20], [2, 4, 1, 1]]


def test_boxes_beyond_the_image_are_cut_and_counted(tmp_path: Path) -> None:
    content = opened(plain(tmp_path, [voc_object("a", 0, 5, 44, 8)])).read("train")
    assert content.annotations[0]["bbox"] == [0, 4, 40, 4]
    assert content.warnings == ["1 boxes reach beyond their image and were cut at its border: Annotations/a.xml:3"]


def test_difficult_objects_are_trained_on_and_not_scored(tmp_path: Path) -> None:
    objects = [voc_object("a", 1, 1, 5, 5, difficult="1"), voc_object("a", 1, 1, 9, 9)]
    root = plain(plain(tmp_path, objects), objects, stem="b")
    source = opened(lists(root, train="a\n", val="b\n"))
    assert [a["iscrowd"] for a in source.read("train").annotations] == [0, 0]
    assert [a["iscrowd"] for a in source.read("val").annotations] == [1, 0]


def test_classes_are_in_the_lists_order_or_by_the_alphabet(tmp_path: Path) -> None:
    root = plain(tmp_path, [voc_object("z", 1, 1, 5, 5), voc_object("b", 1, 1, 5, 5)])
    source = opened(root)
    assert source.names("train") == ["b", "z"]
    assert source.notes == ["there is no label_list.txt, so the classes are in alphabetical order"]
    (root / "label_list.txt").write_bytes(b"z\r\nunused\r\nb\r\n")
    assert opened(root).names("train") == ["z", "unused", "b"]


def test_train_and_val_go_before_trainval_and_test(tmp_path: Path) -> None:
    root = plain(plain(tmp_path, [voc_object("a", 1, 1, 5, 5)]), [], stem="b")
    source = opened(lists(root, trainval="a", test="b"))
    assert {name: [p.stem for p in split.images] for name, split in source.splits.items()} == {
        "train": ["a"],
        "val": ["b"],
    }
    assert source.notes == ["trainval is trained on and test is scored on"]
    source = opened(lists(root, train="b\r\n", val="a  1\r\n"))
    assert [p.stem for p in source.splits["val"].images] == ["a"]


@pytest.mark.parametrize("name", ["train.txt", "train_list.txt"])
def test_lists_of_pairs_at_the_root(name: str, tmp_path: Path) -> None:
    root = plain(tmp_path, [voc_object("a", 1, 1, 5, 5)])
    (root / name).write_text("JPEGImages\\a.png Annotations\\a.xml\n")
    assert opened(root).splits["train"].images == [root / "JPEGImages" / "a.png"]


def test_an_image_of_another_stem_is_found_by_its_name_in_the_file(tmp_path: Path) -> None:
    root = plain(tmp_path, [voc_object("a", 1, 1, 5, 5)])
    (root / "JPEGImages" / "a.png").rename(root / "JPEGImages" / "ñ.PNG")
    text = (root / "Annotations" / "a.xml").read_text().replace("<size>", "<filename>ñ.PNG</filename><size>")
    (root / "Annotations" / "a.xml").write_text(text, encoding="utf-8")
    assert opened(root).splits["train"].images == [root / "JPEGImages" / "ñ.PNG"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (voc_object("a", "x", 1, 5, 5), "xmin 'x' is no number"),  # type: ignore[arg-type]
        ("<object><name>a</name></object>", "object without xmin"),
        ("<object><name> </name></object>", "object without a name"),
        (voc_object("other", 1, 1, 5, 5), r"class 'other' is not in label_list\.txt"),
    ],
)
def test_a_wrong_object_is_told_with_its_line(entry: str, said: str, tmp_path: Path) -> None:
    root = plain(tmp_path, [voc_object("a", 1, 1, 5, 5), entry])
    (root / "label_list.txt").write_text("a\n")
    with pytest.raises(DataError, match=rf"have a problem: Annotations/a\.xml:4: {said}"):
        opened(root).read("train")


def test_a_difficult_that_is_no_flag_is_told_where_it_matters(tmp_path: Path) -> None:
    root = lists(plain(tmp_path, [voc_object("a", 1, 1, 5, 5, difficult="maybe")]), val="a")
    with pytest.raises(DataError, match=r"a\.xml:3: difficult is 'maybe'"):
        opened(root).read("val")


def test_xml_that_is_cut_off_is_told(tmp_path: Path) -> None:
    root = plain(tmp_path, [])
    (root / "label_list.txt").write_text("a\n")
    (root / "Annotations" / "a.xml").write_text("<annotation>\n<object>\n")
    with pytest.raises(DataError, match=r"Annotations/a\.xml: no valid XML \(line 3"):
        opened(root).read("train")


def test_what_a_list_names_has_to_be_there(tmp_path: Path) -> None:
    root = lists(plain(tmp_path, []), train="a\ngone\nbare\na\n")
    voc_xml(root / "Annotations" / "bare.xml", 40, 20, [])
    with pytest.raises(
        DataError,
        match=r"3 problems: ImageSets/Main/train\.txt:2: there is no Annotations/gone\.xml, "
        r"ImageSets/Main/train\.txt:3: there is no image of Annotations/bare\.xml, "
        r"ImageSets/Main/train\.txt:4: a is listed twice",
    ):
        opened(root)


def test_two_images_of_one_xml_are_an_error(tmp_path: Path) -> None:
    root = plain(tmp_path, [])
    writers.picture(root / "JPEGImages" / "a.jpg", 1)
    with pytest.raises(DataError, match=r"Annotations/a\.xml: is the label file of 2 images \(a\.jpg, a\.png\)"):
        opened(root)


def test_a_folder_that_is_no_voc(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no folder Annotations"):
        opened(tmp_path)
