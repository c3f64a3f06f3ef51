"""Only regular files are opened: what would block or never end is one error."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from stages.outside import files


def test_pipes_devices_sockets_and_folders_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path, kind in (
            (tmp_path / "pipe", "a pipe"),
            (tmp_path / "link", "a pipe"),
            (tmp_path / "socket", "a socket"),
            (tmp_path, "a folder"),
            (Path("/dev/zero"), "a device"),
        ):
            with pytest.raises(OSError, match=f"it is {kind}, no regular file"):
                files.read_bytes(path)


def test_a_file_is_read_and_a_link_to_one_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfabc")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert files.read_bytes(tmp_path / "link") == b"\xef\xbb\xbfabc"
    assert files.read_text(tmp_path / "a", "utf-8-sig") == "abc"
    with pytest.raises(FileNotFoundError):
        files.read_bytes(tmp_path / "b")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(OSError, match="it has more than 1000 bytes"):
        files.read_bytes(tmp_path / "sparse", 1000)
    (tmp_path / "even").write_bytes(b"x" * 1000)
    assert len(files.read_bytes(tmp_path / "even", 1000)) == 1000
    if Path("/proc/self/maps").is_file():  # it says that it has no bytes
        with pytest.raises(OSError, match="it has more than 10 bytes"):
            files.read_bytes(Path("/proc/self/maps"), 10)


def test_a_finished_file_takes_the_place_of_a_file_or_of_nothing_and_of_nothing_else(tmp_path: Path) -> None:
    made, old = tmp_path / "made", tmp_path / "old"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to pipe").symlink_to(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    made.write_text("new")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name, kind in (("pipe", "pipe"), ("to pipe", "pipe"), ("socket", "socket"), ("folder", "folder")):
            before = (tmp_path / name).lstat()
            with pytest.raises(files.NoRegularFile, match=f"it is a {kind}, no regular file"):
                files.put(made, tmp_path / name)
            assert (tmp_path / name).lstat() == before and made.read_text() == "new"
    old.write_text("old")
    files.put(made, old)
    assert old.read_text() == "new" and not made.exists()
    files.put(old, made)
    assert made.read_text() == "new"


def test_what_leads_to_an_open_file_is_no_place_for_one_whatever_is_open(tmp_path: Path) -> None:
    """As ``/dev/stdout`` does: a rename would replace the link, and what was written would be nowhere."""
    made = tmp_path / "made"
    made.write_text("new")
    with (tmp_path / "open").open("w") as stream:
        (tmp_path / "link").symlink_to(f"/proc/self/fd/{stream.fileno()}")
        (tmp_path / "again").symlink_to("link")
        for name in ("link", "again"):
            with pytest.raises(files.NoRegularFile, match="the name of a device or an open file"):
                files.put(made, tmp_path / name)
            assert (tmp_path / name).is_symlink() and made.exists()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError):  # the system's own words
        files.put(made, tmp_path / "circle")
