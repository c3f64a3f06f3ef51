"""Collecting images: sampling, broken files, leaks between what is trained on and what is scored on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stages.artifacts import ImageList, LabeledSet
from stages.data.collect import CollectLabeled, CollectUnlabeled, listing_digest
from stages.data.draw import Draw
from stages.errors import DataError
from stages.options.data import CollectOptions, ShapesOptions
from stages.outside.names import OUTSIDE
from stages.processes import cores
from tests.conftest import ROOT
from tests.fakes import FakeContext


def folder_of(path: Path, count: int, first: int = 0) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        image = np.random.default_rng(i).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        assert cv2.imwrite(str(path / f"{i:03d}.png"), image)
    return path


def labels_for(folder: Path, **extra: Any) -> Path:
    images = [
        {"id": i + 1, "file_name": p.name, "width": 16, "height": 12} for i, p in enumerate(sorted(folder.iterdir()))
    ]
    boxes = [{"id": 1, "image_id": 1, "category_id": 4, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}]
    path = folder.parent / f"{folder.name}.json"
    categories = [{"id": 4, "name": "thing"}]
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories, **extra}))
    return path


def collect(folder: Path, context: FakeContext, validation: LabeledSet | None = None, **options: Any) -> ImageList:
    stage = CollectUnlabeled(CollectOptions(images=str(folder), **options))
    return stage.run(CollectUnlabeled.Inputs(validation=validation), context)


def collect_labeled(folder: Path, tmp_path: Path, **options: Any) -> LabeledSet:
    context = FakeContext(tmp_path / "labeled")
    given = CollectOptions(annotations=str(labels_for(folder)), images=str(folder), **options)
    return CollectLabeled(given).run(CollectLabeled.Inputs(), context)


def listed(images: ImageList) -> list[dict[str, Any]]:
    return json.loads(images.path("images.json").read_text())


def test_the_sample_follows_the_seed_and_is_stored(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", 20)
    first = collect(folder, FakeContext(tmp_path / "a", seed=1), sample=6)
    again = collect(folder, FakeContext(tmp_path / "b", seed=1), sample=6)
    other = collect(folder, FakeContext(tmp_path / "c", seed=2), sample=6)
    assert first.count == 6
    assert first.digest == again.digest
    assert {e["path"] for e in listed(first)} != {e["path"] for e in listed(other)}
    entry = listed(first)[0]
    assert (entry["width"], entry["height"]) == (16, 12)
    assert len(entry["sha256"]) == 64


def test_a_corrupt_image_is_skipped_counted_and_replaced(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", 40)
    (folder / "007.png").write_bytes(b"\x89PNG nothing")
    context = FakeContext(tmp_path / "a")
    images = collect(folder, context)
    assert (images.count, images.skipped) == (39, 1)
    assert context.value("unreadable") == 1
    assert any("007.png" in w for w in context.warnings)
    seed = next(s for s in range(99) if 7 in np.random.default_rng(s).permutation(40)[:25])
    sampled = collect(folder, FakeContext(tmp_path / "b", seed=seed), sample=25)
    assert (sampled.count, sampled.skipped) == (25, 1)
    assert len({e["path"] for e in listed(sampled)}) == 25


def test_more_than_five_percent_unreadable_stops(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", 38)
    for name in ("000.png", "001.png"):
        (folder / name).write_text("no image")
    with pytest.raises(DataError, match=r"2 of 38 unlabeled images.*more than the 5%.*00[01]\.png.*max_unreadable"):
        collect(folder, FakeContext(tmp_path / "a"))
    assert collect(folder, FakeContext(tmp_path / "b"), max_unreadable=0.06).count == 36


def test_empty_missing_and_all_broken_folders(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "readme.txt").touch()
    with pytest.raises(DataError, match="holds no images"):
        collect(tmp_path / "in", FakeContext(tmp_path / "a"))
    with pytest.raises(DataError, match="does not exist"):
        collect(tmp_path / "none", FakeContext(tmp_path / "a"))
    with pytest.raises(DataError, match="is not a folder"):
        collect(tmp_path / "in" / "readme.txt", FakeContext(tmp_path / "a"))
    (tmp_path / "in" / "x.jpg").write_text("x")
    with pytest.raises(DataError, match="none of the 1 images"):
        collect(tmp_path / "in", FakeContext(tmp_path / "a"), max_unreadable=1.0)
    with pytest.raises(DataError, match=r"compression\.images"):
        collect(tmp_path / "in", FakeContext(tmp_path / "a"), sample=0)
    with pytest.raises(DataError, match=r"data\.unlabeled_images"):
        CollectUnlabeled(CollectOptions()).run(CollectUnlabeled.Inputs(), FakeContext(tmp_path / "a"))


def test_fewer_images_than_asked_for_is_said(tmp_path: Path) -> None:
    context = FakeContext(tmp_path / "a")
    assert collect(folder_of(tmp_path / "in", 3), context, sample=10).count == 3
    assert "fewer than the 10 asked for" in context.warnings[0]


def test_an_image_of_the_validation_set_is_a_leak_under_any_name(tmp_path: Path) -> None:
    validation = collect_labeled(folder_of(tmp_path / "val", 4), tmp_path)
    folder = folder_of(tmp_path / "in", 10, first=100)
    shutil.copy(tmp_path / "val" / "002.png", folder / "holiday.png")
    with pytest.raises(DataError, match=r"1 of 11 .*holiday\.png = 002\.png.*data\.allow_overlap=true"):
        collect(folder, FakeContext(tmp_path / "a"), validation)
    context = FakeContext(tmp_path / "b")
    assert collect(folder, context, validation, allow_overlap=True).count == 11
    assert "flattering" in context.warnings[0]
    labels = CollectOptions(annotations=str(labels_for(folder)), images=str(folder))
    with pytest.raises(DataError, match=r"holiday\.png = 002\.png"):
        CollectLabeled(labels).run(CollectLabeled.Inputs(validation=validation), FakeContext(tmp_path / "c"))


def test_labeled_set_holds_its_labels_and_hashes(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "val", 5)
    collected = collect_labeled(folder, tmp_path)
    assert (collected.images, collected.boxes, collected.labels) == (5, 1, ["thing"])
    assert collected.images_root == str(folder)
    assert set(collected.files) == {"annotations.json", "images.json"}
    (tmp_path / "other").mkdir()
    cv2.imwrite(str(folder / "003.png"), np.zeros((12, 16, 3), np.uint8))
    assert collect_labeled(folder, tmp_path / "other").images_digest != collected.images_digest


def test_a_sample_of_labeled_images_keeps_their_boxes(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "val", 8)
    boxes = [{"id": i, "image_id": i, "category_id": 4, "bbox": [1, 1, 5, 5]} for i in range(1, 9)]
    labels = labels_for(folder, annotations=boxes)
    context = FakeContext(tmp_path / "a", seed=3)
    options = CollectOptions(annotations=str(labels), images=str(folder), sample=3)
    collected = CollectLabeled(options).run(CollectLabeled.Inputs(), context)
    assert (collected.images, collected.boxes) == (3, 3)
    assert context.value("images_without_boxes") == 0


def test_labeled_images_have_to_be_there_and_readable(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "val", 3)
    labels = labels_for(folder)
    options = CollectOptions(annotations=str(labels), images=str(folder))
    (folder / "001.png").write_text("no image")
    with pytest.raises(DataError, match=r"1 labelled images cannot be read.*001\.png"):
        CollectLabeled(options).run(CollectLabeled.Inputs(), FakeContext(tmp_path / "a"))
    (folder / "001.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 labelled images are not in .*: 001\.png"):
        CollectLabeled(options).run(CollectLabeled.Inputs(), FakeContext(tmp_path / "a"))
    with pytest.raises(DataError, match=r"data\.root"):
        CollectLabeled(CollectOptions()).run(CollectLabeled.Inputs(), FakeContext(tmp_path / "a"))


def test_sizes_that_contradict_the_image_and_sets_without_boxes(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "val", 2)
    images = [{"id": 1, "file_name": "000.png", "width": 99, "height": 12}, {"id": 2, "file_name": "001.png"}]
    options = CollectOptions(annotations=str(labels_for(folder, images=images)), images=str(folder))
    context = FakeContext(tmp_path / "a")
    collected = CollectLabeled(options).run(CollectLabeled.Inputs(), context)
    assert "99x12 in the labels, 16x12 in the file" in context.warnings[0]
    stored = json.loads(collected.path("annotations.json").read_text())["images"]
    assert [(i["width"], i["height"]) for i in stored] == [(16, 12)] * 2
    labels_for(folder, annotations=[])
    with pytest.raises(DataError, match="hold no box;"):
        CollectLabeled(options).run(CollectLabeled.Inputs(), FakeContext(tmp_path / "b"))


def test_crowds_alone_cannot_be_scored(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", 2)
    crowd = {"id": 1, "image_id": 1, "category_id": 4, "bbox": [1, 1, 5, 5], "iscrowd": 1}
    given = CollectOptions(annotations=str(labels_for(folder, annotations=[crowd])), images=str(folder))
    with pytest.raises(DataError, match="no box but 1 crowds"):
        CollectLabeled(given).run(CollectLabeled.Inputs(), FakeContext(tmp_path / "out"))


def test_names_with_windows_separators_are_taken_or_hinted_at(tmp_path: Path) -> None:
    folder_of(tmp_path / "in" / "sub", 1)
    images = [{"id": 1, "file_name": "sub\\000.png"}]
    path = labels_for(folder_of(tmp_path / "in2", 1), images=images)
    context = FakeContext(tmp_path / "out")
    found = CollectLabeled(CollectOptions(annotations=str(path), images=str(tmp_path / "in"))).run(
        CollectLabeled.Inputs(), context
    )
    assert json.loads(found.path("annotations.json").read_text())["images"][0]["file_name"] == "sub/000.png"
    assert "Windows separators" in context.warnings[0]
    with pytest.raises(DataError, match="Windows separators"):
        CollectLabeled(CollectOptions(annotations=str(path), images=str(tmp_path / "in2"))).run(
            CollectLabeled.Inputs(), FakeContext(tmp_path / "out2")
        )


def test_a_picture_with_a_damaged_middle_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    whole = cv2.imencode(".jpg", rng.integers(0, 256, (120, 160, 3), dtype=np.uint8))[1].tobytes()
    for name, start in (("good.jpg", None), ("middle.jpg", len(whole) // 2), ("fine.jpg", None)):
        data = bytearray(whole[:-2] + whole[-2:])
        if start is not None:
            data[start : start + 1000] = bytes(1000)
        (folder / name).write_bytes(bytes(data))
    context = FakeContext(tmp_path / "out")
    assert collect(folder, context).count == 3
    (warning,) = [w for w in context.warnings if "damaged" in w]
    assert "1 images" in warning and "middle.jpg" in warning
    assert "Corrupt JPEG" not in capfd.readouterr().err


def test_drawn_sets_are_collected_by_relative_paths(tmp_path: Path) -> None:
    options = ShapesOptions(train=4, unlabeled=5, val=3, size=[96, 96])
    drawn = Draw(options).run(Draw.Inputs(), FakeContext(tmp_path / "d"))
    labeled = CollectLabeled(CollectOptions(annotations="val.json", images="val")).run(
        CollectLabeled.Inputs(drawn=drawn), FakeContext(tmp_path / "a", threads=2)
    )
    unlabeled = CollectUnlabeled(CollectOptions(images="unlabeled")).run(
        CollectUnlabeled.Inputs(drawn=drawn, validation=labeled), FakeContext(tmp_path / "b", threads=2)
    )
    assert (labeled.images, unlabeled.count) == (3, 5)


def test_the_listing_sees_new_changed_and_removed_files(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", 3)
    seen = {listing_digest(folder)}
    folder_of(folder, 1, first=50)
    seen.add(listing_digest(folder))
    os.utime(folder / "000.png", ns=(1, 1))
    seen.add(listing_digest(folder))
    (folder / "002.png").unlink()
    seen.add(listing_digest(folder))
    assert len(seen) == 4
    assert listing_digest(folder) in seen
    assert listing_digest(folder, tmp_path / "none") == listing_digest(folder)
    labels = labels_for(folder)
    assert listing_digest(folder, labels) not in seen


def test_real_photographs(bccd: Path, tmp_path: Path) -> None:
    context = FakeContext(tmp_path / "v", threads=2)
    options = CollectOptions(annotations=str(bccd / "val.json"), images=str(bccd / "val"))
    validation = CollectLabeled(options).run(CollectLabeled.Inputs(), context)
    assert (validation.images, validation.boxes) == (159, 2082)
    context = FakeContext(tmp_path / "u", threads=2)
    assert collect(bccd / "train", context, validation, sample=50).count == 50
    assert context.warnings == []


@pytest.mark.parametrize("how", ["..", "absolute", "link"])
def test_labels_that_name_images_elsewhere_are_refused_unless_that_is_allowed(how: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "val", 2)
    private = folder_of(tmp_path / "private", 1, first=7) / "007.png"
    labels = labels_for(folder)
    content = json.loads(labels.read_text())
    name = {"..": "../private/007.png", "absolute": str(private), "link": "link.png"}[how]
    if how == "link":
        (folder / name).symlink_to(private)
    content["images"].append({"id": 3, "file_name": name})
    labels.write_text(json.dumps(content))

    def run(place: str, **options: Any) -> LabeledSet:
        given = CollectOptions(annotations=str(labels), images=str(folder), **options)
        return CollectLabeled(given).run(CollectLabeled.Inputs(), FakeContext(tmp_path / place))

    with pytest.raises(DataError, match=r"val.json: file_name .*data.allow_outside_images=true") as refused:
        run("a")
    assert name in str(refused.value)
    made = run("b", allow_outside_images=True)
    for file, entries in (("annotations.json", "images"), ("images.json", None)):
        found = json.loads(made.path(file).read_text())
        marks = [OUTSIDE in image for image in (found[entries] if entries else found)]
        assert marks == [False, False, True], file


def test_a_link_among_unlabeled_images_is_used_and_marked(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", 2)
    (folder / "link.png").symlink_to(folder_of(tmp_path / "private", 1, first=7) / "007.png")
    (folder / "own.png").symlink_to(folder / "000.png")
    marked = {Path(e["path"]).name: OUTSIDE in e for e in listed(collect(folder, FakeContext(tmp_path / "a")))}
    assert marked == {"000.png": False, "001.png": False, "own.png": False, "link.png": True}


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a link to a device"])
def test_what_is_no_file_among_the_images_blocks_nobody(kind: str, tmp_path: Path) -> None:
    """Read in a process of its own, which is ended if it waits for a writer that never comes."""
    folder = folder_of(tmp_path / "in", 30)
    odd = folder / "odd.png"
    if kind == "a pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to("/dev/zero")
    labels = labels_for(folder)
    code = f"""
        from pathlib import Path
        from stages.data.collect import CollectLabeled, CollectUnlabeled
        from stages.errors import DataError
        from stages.options.data import CollectOptions
        from tests.fakes import FakeContext
        context = FakeContext(Path({str(tmp_path / "out")!r}))
        made = CollectUnlabeled(CollectOptions(images={str(folder)!r})).run(CollectUnlabeled.Inputs(), context)
        print(made.count, *context.warnings)
        try:
            options = CollectOptions({str(labels)!r}, {str(folder)!r}, allow_outside_images=True)
            CollectLabeled(options).run(CollectLabeled.Inputs(), context)
        except DataError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    sample, labeled = done.stdout.strip().splitlines()
    assert sample.startswith("30 left out: image") and str(odd) in sample and "no regular file" in sample
    assert str(odd) in labeled, labeled


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_how_many_threads_read_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: 4)
    monkeypatch.setattr("stages.data.collect.CHUNK", 7)
    folder = folder_of(tmp_path / "in", 40)
    if ending == ".jpg":
        for path in sorted(folder.iterdir()):
            cv2.imwrite(str(path.with_suffix(ending)), cv2.imread(str(path)))
            path.unlink()
    for number in (3, 20):
        path = folder / f"{number:03d}{ending}"
        path.write_bytes(path.read_bytes()[:-15])
    made = []
    for threads in (1, 4):
        context = FakeContext(tmp_path / str(threads), seed=5, threads=threads)
        artifact = collect(folder, context, sample=30, max_unreadable=0.2)
        made.append((artifact.files, artifact.digest, listed(artifact), sorted(context.warnings)))
    assert made[0] == made[1]
    assert len(made[0][2]) == 30
