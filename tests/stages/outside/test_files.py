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
