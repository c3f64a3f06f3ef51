"""What can be told of a COCO file without reading it whole, and which files its images are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages.detection import coco_parts
from stages.detection.coco_parts import image_file, image_names, list_alone, named_images

IMAGES = [{"id": i, "file_name": f"größe {i}.jpg"} for i in range(40)]


def written(folder: Path, content: Any) -> Path:
    path = folder / "labels.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("large", [1, 50, 700, 1 << 24])
@pytest.mark.parametrize("order", [("images", "annotations"), ("annotations", "images")])
def test_the_names_of_a_large_file_and_of_a_small_one_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int, order: tuple[str, str]
) -> None:
    """Whatever part of the file is looked at first, the middle of a letter included."""
    monkeypatch.setattr(coco_parts, "LARGE", large)
    lists = {"images": IMAGES, "annotations": [{"id": i, "area": 1.5} for i in range(200)]}
    path = written(tmp_path, {name: lists[name] for name in order})
    assert image_names(path) == [f"größe {i}.jpg" for i in range(40)]
    assert (list_alone(path, "images") == IMAGES) == (large < 1 << 24)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"images": {}}', '{"images": [1, {}, {"file_name": 3}]}'])
@pytest.mark.parametrize("large", [1, 1 << 24])
def test_a_broken_file_names_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, large: int) -> None:
    monkeypatch.setattr(coco_parts, "LARGE", large)
    assert image_names(written(tmp_path, content)) == []
    assert image_names(tmp_path / "none.json") == []


def test_where_a_named_image_is(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").touch()
    assert image_file(tmp_path, "sub\\a.jpg") == tmp_path / "sub" / "a.jpg"
    (tmp_path / "sub\\a.jpg").touch()  # a backslash may be a letter of a name
    assert image_file(tmp_path, "sub\\a.jpg") == tmp_path / "sub\\a.jpg"
    assert image_file(tmp_path, "not\\there.jpg") == tmp_path / "not\\there.jpg"
    path = written(tmp_path, {"images": [{"file_name": "b"}, {"file_name": f"{tmp_path}/c"}]})
    assert named_images(path, tmp_path / "sub") == [tmp_path / "sub" / "b", tmp_path / "c"]
