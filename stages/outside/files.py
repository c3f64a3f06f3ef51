"""Files of others are opened here: only regular ones, so that a pipe or a device blocks nobody, and of a bounded size.

And finished files are put into their places here, where nothing but a regular file may be in the way: to the user who
may do anything, a rename would replace the machine's ``/dev/null``.

What is wrong is an OSError whose ``strerror`` fits into "NAME cannot be read (...)" or "written".
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1 << 20
LARGEST = 1 << 31
"""Bytes that are read at once at most, where the caller names no other number."""
_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "a folder"),
)
_FOLDERS_OF_DEVICES = (Path("/dev"), Path("/dev/fd"))
_FOLDERS_OF_PROCESSES = (Path("/proc"), Path("/sys"))
_MOST_LINKS = 40  # as the kernel follows


class NoRegularFile(OSError):
    """A pipe, a device, a socket or a folder stands where a file was asked for."""


def open_regular(path: Path) -> BinaryIO:
    """A file, opened to read its bytes; a link is followed.

    Raises:
        OSError: it is not there, may not be read, or is no regular file.
    """
    _require_regular(path.stat().st_mode, path)  # before it is opened: opening a device can do things
    # Without waiting, should a pipe have taken the file's place meanwhile.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _require_regular(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, most: int = LARGEST) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: as of `open_regular`, or it has more than ``most`` bytes.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        content = stream.read(size + 1) if size <= most else b""
        while len(content) > size and len(content) <= most:  # it grows, or does not know its size (as under /proc)
            size = len(content)
            content += stream.read(_CHUNK)
        if max(size, len(content)) > most:
            raise OSError(errno.EFBIG, f"it has more than {most} bytes", str(path))
        return content


def read_text(path: Path, encoding: str = "utf-8", most: int = LARGEST) -> str:
    """The text of a regular file; errors as of `read_bytes`, and UnicodeDecodeError."""
    return read_bytes(path, most).decode(encoding)


def put(made: Path, target: Path) -> None:
    """Let a file that is whole take the place of ``target``, or of what file was there before, in one step.

    Raises:
        NoRegularFile: something else is there, which stays as it is.
        OSError: the folder cannot be written.
    """
    require_place(target)
    made.replace(target)


def put_text(target: Path, text: str) -> None:
    """Write a file in one step: a reader, or who continues later, finds it whole; errors as of `put`."""
    beside = target.with_suffix(".tmp")
    beside.write_text(text, encoding="utf-8")
    put(beside, target)


def require_place(path: Path) -> None:
    """Raise NoRegularFile unless a file can stand at ``path``: there is one, or nothing, and no name of a device.

    A link is what it leads to; ``/dev/stdout`` leads to whatever file a shell lets it, and is none for all that.
    """
    if _among_devices(path):
        raise NoRegularFile(errno.EINVAL, "it is the name of a device or an open file, no regular file", str(path))
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    _require_regular(mode, path)


def _among_devices(path: Path) -> bool:
    """Whether a path, or what it is a link to, lies where the system keeps devices and what processes have open."""
    for _ in range(_MOST_LINKS):
        folder = Path(os.path.realpath(path.parent))
        if folder in _FOLDERS_OF_DEVICES or any(folder.is_relative_to(other) for other in _FOLDERS_OF_PROCESSES):
            return True
        if not path.is_symlink():
            return False
        path = folder / path.readlink()
    return False


def _require_regular(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_it, name in _KINDS if is_it(mode)), "something else")
        raise NoRegularFile(errno.EINVAL, f"it is {kind}, no regular file", str(path))
