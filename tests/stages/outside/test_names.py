"""Names from outside: joined where they lead into their folder, refused in one line where they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.errors import DataError, InputError, StoreError
from stages.outside import names

WRONG = [
    "../x",
    "/x",
    "a/../../x",
    "..",
    "..\\x",
    "a\\..\\..\\x",
    "C:\\x",
    "\\x",
    "",
    "a\0b",
    "x" * 300,
    "a/" * 3000 + "b",
    7,
]


@pytest.mark.parametrize("name", WRONG, ids=lambda name: repr(name)[:20])
def test_a_name_that_leads_out_is_refused_with_file_and_field(name: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="refused") as refused:
        names.inside(tmp_path, name, "the/record.json", "files", InputError)
    said = str(refused.value)
    assert said.startswith("the/record.json: files ") and "\n" not in said and len(said) < 400


@pytest.mark.parametrize("name", ["a", "a/b.txt", "ä b", "a..b", "..a", "-", "a\nb"])
def test_other_names_are_taken(name: str, tmp_path: Path) -> None:
    assert names.inside(tmp_path, name, "f", "x") == tmp_path / name


def test_links_are_resolved(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for folder in (root / "real", elsewhere):
        folder.mkdir(parents=True)
    (root / "out").symlink_to(elsewhere)
    (root / "in").symlink_to(root / "real")
    (root / "file").symlink_to(elsewhere / "secret")
    (tmp_path / "alias").symlink_to(root)
    assert names.inside(root, "in/x", "f", "x") == root / "in" / "x"
    assert names.inside(tmp_path / "alias", "in/x", "f", "x") == tmp_path / "alias" / "in" / "x"
    for name in ("out/x", "file"):
        with pytest.raises(StoreError, match="is a link out of"):
            names.inside(root, name, "f", "x")


def test_a_part_is_one_name_and_an_entry_two(tmp_path: Path) -> None:
    assert names.part("a.b", "f", "attempt") == "a.b"
    assert names.entry("export/0123", "f", "entry") == "export/0123" and names.is_entry("export/0123")
    for name in ("a/b", ".", "a\\b"):
        with pytest.raises(StoreError):
            names.part(name, "f", "attempt")
    for name in ("a", "a/b/c", "./a", ".tmp/a", "a/.x", "a//", "a/", "../a", "/a/b"):
        assert not names.is_entry(name)
        with pytest.raises(StoreError):
            names.entry(name, "f", "entry")


def test_images_elsewhere_are_marked_if_they_are_allowed(tmp_path: Path) -> None:
    root = tmp_path / "val"
    root.mkdir()
    (root / "a.jpg").touch()
    (tmp_path / "private.jpg").touch()
    (root / "link.jpg").symlink_to(tmp_path / "private.jpg")
    given = ["a.jpg", str(root / "a.jpg"), "../private.jpg", str(tmp_path / "private.jpg"), "link.jpg"]
    images: list[dict[str, Any]] = [{"file_name": name} for name in given]
    with pytest.raises(DataError, match=r"val.json: file_name '../private.jpg'.*data.allow_outside_images=true"):
        names.accept_outsiders(images, root, "val.json", allowed=False)
    names.accept_outsiders(images, root, "val.json", allowed=True)
    assert [names.may_be_copied(image) for image in images] == [True, True, False, False, False]
    assert names.image_path(root, images[2]) == root / "../private.jpg"


def test_an_image_that_is_not_marked_stays_in_its_folder(tmp_path: Path) -> None:
    for name in ("../x.jpg", "/etc/hostname"):
        with pytest.raises(DataError, match="refused"):
            names.image_path(tmp_path, {"file_name": name})
    assert names.image_path(tmp_path, {"file_name": "a/b.jpg"}) == tmp_path / "a/b.jpg"


def test_a_long_value_is_cut_in_a_message() -> None:
    assert len(names.shown("x" * 10_000)) < 130 and names.shown("a\nb") == "'a\\nb'"
