"""Conversion and division as a stage, and what is collected from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stages.artifacts import ConvertedSet, LabeledSet
from stages.data.collect import CollectLabeled, CollectUnlabeled
from stages.data.convert import Convert
from stages.data.formats.detect import open_source
from stages.errors import DataError
from stages.options.data import CollectOptions, ConvertOptions
from stages.outside.names import OUTSIDE
from tests.fakes import FakeContext
from tests.stages.data.formats import writers
from tests.stages.data.formats.test_readers import WRITERS


def convert(root: Path, context: FakeContext, kind: str, **options: Any) -> ConvertedSet:
    return Convert(ConvertOptions(kind=kind, root=str(root), **options)).run(Convert.Inputs(), context)


def collected(root: Path, kind: str, folder: Path, split: str) -> LabeledSet:
    """Of a layout that is converted, or of our own (``coco``)."""
    if kind == "coco":
        made, annotations, images = None, str(root / f"{split}.json"), root / split
    else:
        made = convert(root, FakeContext(folder / "convert"), kind)
        annotations, images = f"{split}.json", open_source(kind, root).splits[split].root
    stage = CollectLabeled(CollectOptions(annotations=annotations, images=str(images)))
    return stage.run(CollectLabeled.Inputs(converted=made), FakeContext(folder / "collect"))


def listed(made: ConvertedSet, split: str) -> list[str]:
    return [image["file_name"] for image in json.loads(made.path(f"{split}.json").read_text())["images"]]


def test_a_set_is_collected_alike_in_every_layout(tmp_path: Path) -> None:
    assert_collected_alike(writers.coco_folder(tmp_path / "coco"), tmp_path)


@pytest.mark.slow
def test_real_photographs_are_collected_alike_in_every_layout(bccd: Path, tmp_path: Path) -> None:
    assert_collected_alike(bccd, tmp_path)


def assert_collected_alike(coco: Path, tmp_path: Path) -> None:
    """The same images, classes and boxes, to the last digit."""
    for split in writers.SPLITS:
        wanted = collected(coco, "coco", tmp_path / f"coco-{split}", split)
        for kind, write in WRITERS.items():
            root = tmp_path / kind
            if not root.is_dir():
                write(coco, root)
            found = collected(root, kind, tmp_path / f"{kind}-{split}", split)
            assert found.images_digest == wanted.images_digest
            assert (found.labels, found.images, found.boxes) == (wanted.labels, wanted.images, wanted.boxes)
            contents = [json.loads(s.path("annotations.json").read_text()) for s in (found, wanted)]
            assert contents[0] == contents[1]


def test_unlabeled_images_are_those_of_the_training_list(tmp_path: Path) -> None:
    root = writers.as_voc(writers.coco_folder(tmp_path / "coco"), tmp_path / "voc")
    made = convert(root, FakeContext(tmp_path / "convert"), "voc")
    options = CollectOptions(annotations="train.json", images=str(root / "JPEGImages"))
    images = CollectUnlabeled(options).run(CollectUnlabeled.Inputs(converted=made), FakeContext(tmp_path / "c"))
    paths = [entry["path"] for entry in json.loads(images.path("images.json").read_text())]
    assert sorted(Path(path).name for path in paths) == ["train_0.png", "train_1.png", "train_2.png"]


def test_an_image_that_cannot_be_read_is_told_and_left_to_collecting(tmp_path: Path) -> None:
    root = writers.as_yolo(writers.coco_folder(tmp_path / "coco"), tmp_path / "yolo")
    (root / "images" / "train" / "train_0.png").write_bytes(b"")
    context = FakeContext(tmp_path / "convert")
    made = convert(root, context, "yolo")
    assert any("1 images cannot be read" in warning for warning in context.warnings)
    assert listed(made, "train") == ["train_0.png", "train_1.png", "train_2.png"]


def one_split(root: Path, count: int = 40) -> Path:
    """A YOLO set without a validation split: three classes, the last of them rare; two images are saved twice."""
    for i in range(count):
        image = writers.picture(root / "images" / f"{i:02d}.png", i)
        (root / "labels").mkdir(exist_ok=True)
        label = 2 if i % 10 == 0 else i % 2
        (root / "labels" / f"{i:02d}.txt").write_text(f"{label} 0.5 0.5 0.5 0.5")
        if i < 2:
            (root / "images" / f"{i:02d}-again.png").write_bytes(image.read_bytes())
            (root / "labels" / f"{i:02d}-again.txt").write_text(f"{label} 0.5 0.5 0.5 0.5")
    (root / "classes.txt").write_text("a\nb\nc\n")
    return root


def test_a_share_is_held_out_by_the_seed(tmp_path: Path) -> None:
    root = one_split(tmp_path / "set")
    made = [
        convert(root, FakeContext(tmp_path / str(i), seed=seed), "yolo", val_fraction=0.25)
        for i, seed in enumerate((0, 0, 1))
    ]
    train, val = listed(made[0], "train"), listed(made[0], "val")
    assert sorted(train + val) == sorted(path.name for path in (root / "images").iterdir())
    assert 9 <= len(val) <= 12
    assert made[0].digest == made[1].digest
    assert listed(made[2], "val") != val
    labels = json.loads(made[0].path("val.json").read_text())["annotations"]
    assert {a["category_id"] for a in labels} == {1, 2, 3}
    for i in range(2):
        assert (f"{i:02d}.png" in val) == (f"{i:02d}-again.png" in val)


def test_an_added_image_moves_few_others(tmp_path: Path) -> None:
    root = one_split(tmp_path / "set")
    before = listed(convert(root, FakeContext(tmp_path / "a"), "yolo", val_fraction=0.25), "val")
    writers.picture(root / "images" / "new.png", 999)
    (root / "labels" / "new.txt").write_text("0 0.5 0.5 0.5 0.5")
    after = listed(convert(root, FakeContext(tmp_path / "b"), "yolo", val_fraction=0.25), "val")
    assert len(set(before) ^ set(after)) <= 3


def test_near_duplicates_stay_on_one_side(tmp_path: Path) -> None:
    """The same scene, a little brighter and compressed: other bytes, the same look."""
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    for scene in range(12):
        coarse = np.random.default_rng(scene).integers(0, 200, (6, 6, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (96, 96), interpolation=cv2.INTER_CUBIC)
        for shot in range(3):
            path = root / "images" / f"{scene:02d}-{shot}.jpg"
            assert cv2.imwrite(str(path), cv2.add(image, np.full_like(image, shot)), [cv2.IMWRITE_JPEG_QUALITY, 90])
            path.parent.parent.joinpath("labels", f"{path.stem}.txt").write_text("0 0.5 0.5 0.5 0.5")
    (root / "classes.txt").write_text("a\n")
    context = FakeContext(tmp_path / "convert")
    val = listed(convert(root, context, "yolo", val_fraction=0.3), "val")
    shots = {name[:2]: sum(other.startswith(name[:2]) for other in val) for name in val}
    assert shots and set(shots.values()) == {3}
    assert any("36 images look like another one" in message for message in context.infos)


def test_plain_backgrounds_are_told_apart_by_their_grey(tmp_path: Path) -> None:
    for i in range(6):
        path = tmp_path / "images" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), np.full((32, 32, 3), 40 * i, np.uint8))
        path.with_suffix(".txt").write_text("0 0.5 0.5 0.5 0.5")
    (tmp_path / "classes.txt").write_text("a\n")
    made = convert(tmp_path, FakeContext(tmp_path / "c"), "yolo", val_fraction=0.5)
    assert len(listed(made, "val")) == len(listed(made, "train")) == 3


def test_what_cannot_be_divided_is_an_error(tmp_path: Path) -> None:
    root = one_split(tmp_path / "set", count=1)
    with pytest.raises(DataError, match="the 2 images cannot be divided"):
        convert(root, FakeContext(tmp_path / "a"), "yolo", val_fraction=0.5)
    both = writers.as_yolo(writers.coco_folder(tmp_path / "coco"), tmp_path / "yolo")
    with pytest.raises(DataError, match="has a validation split already"):
        convert(both, FakeContext(tmp_path / "b"), "yolo", val_fraction=0.5)


def test_difficult_objects_of_a_divided_set_are_not_scored(tmp_path: Path) -> None:
    for folder in ("Annotations", "JPEGImages"):
        (tmp_path / "voc" / folder).mkdir(parents=True)
    for i in range(4):
        writers.picture(tmp_path / "voc" / "JPEGImages" / f"{i}.png", i)
        objects = [writers.voc_object("a", 1, 1, 9, 9, difficult="1")]
        writers.voc_xml(tmp_path / "voc" / "Annotations" / f"{i}.xml", 40, 20, objects)
    made = convert(tmp_path / "voc", FakeContext(tmp_path / "c"), "voc", val_fraction=0.5)
    flags = {
        split: {a["iscrowd"] for a in json.loads(made.path(f"{split}.json").read_text())["annotations"]}
        for split in writers.SPLITS
    }
    assert flags == {"train": {0}, "val": {1}}


def test_one_coco_file_is_divided(tmp_path: Path) -> None:
    coco = writers.coco_folder(tmp_path / "coco", count=8)
    options = {"annotations": str(coco / "train.json"), "val_fraction": 0.25}
    made = convert(coco / "train", FakeContext(tmp_path / "c"), "coco", **options)
    assert len(listed(made, "val")) == 2
    assert sorted(listed(made, "val") + listed(made, "train")) == [f"train_{i}.png" for i in range(8)]


@pytest.mark.parametrize("kind", ["yolo", "voc", "roboflow"])
def test_labels_in_any_layout_that_name_images_elsewhere_are_refused(kind: str, tmp_path: Path) -> None:
    root = WRITERS[kind](writers.coco_folder(tmp_path / "coco"), tmp_path / "data" / "set")
    private = writers.picture(tmp_path / "private" / "images" / "p.png", 99)
    if kind == "yolo":
        (root / "train.txt").write_text(f"{private}\nimages/train/train_0.png\n")
        text = (root / "data.yaml").read_text()
        (root / "data.yaml").write_text("\n".join("train: train.txt" if "train:" in t else t for t in text.split("\n")))
    elif kind == "voc":
        xml = next((root / "Annotations").glob("train_0.xml"))
        (root / "train.txt").write_text(f"../../private/images/p.png Annotations/{xml.name}\n")
        (root / "val.txt").write_text("JPEGImages/val_0.png Annotations/val_0.xml\n")
    else:
        file = root / "train" / "_annotations.coco.json"
        content = json.loads(file.read_text())
        content["images"][0]["file_name"] = str(private)
        file.write_text(json.dumps(content))

    def run(place: str, allowed: bool) -> LabeledSet:
        made = convert(root, FakeContext(tmp_path / place / "convert"), kind, allow_outside_images=allowed)
        images = str(open_source(kind, root).splits["train"].root)
        stage = CollectLabeled(CollectOptions("train.json", images, allow_outside_images=allowed))
        return stage.run(CollectLabeled.Inputs(converted=made), FakeContext(tmp_path / place))

    with pytest.raises(DataError, match=r"refused; copy .*data.allow_outside_images=true"):
        run("a", allowed=False)
    images = json.loads(run("b", allowed=True).path("annotations.json").read_text())["images"]
    assert [Path(i["file_name"]).name for i in images if OUTSIDE in i] == ["p.png"]


def test_one_set_that_is_divided_names_no_image_elsewhere_either(tmp_path: Path) -> None:
    root = writers.coco_folder(tmp_path / "coco")
    private = writers.picture(tmp_path / "private" / "p.png", 99)
    content = json.loads((root / "train.json").read_text())
    content["images"].append({"id": 9, "file_name": "../../private/p.png"})
    (root / "train.json").write_text(json.dumps(content))

    def run(place: str, allowed: bool) -> ConvertedSet:
        options = {"annotations": str(root / "train.json"), "val_fraction": 0.3, "allow_outside_images": allowed}
        return convert(root / "train", FakeContext(tmp_path / place), "coco", **options)

    with pytest.raises(DataError, match=r"train.json: file_name '../../private/p.png' leads out"):
        run("a", allowed=False)
    made = run("b", allowed=True)
    found = [i for split in writers.SPLITS for i in json.loads(made.path(f"{split}.json").read_text())["images"]]
    assert [Path(i["file_name"]).name for i in found if OUTSIDE in i] == [private.name]
