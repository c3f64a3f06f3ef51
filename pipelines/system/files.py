"""Files that are whole or absent, and only where a file can be."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from stages.errors import InputError
from stages.outside import files


def write_text(path: Path, text: str) -> None:
    """Write a file in one step: a reader sees the old one or the new one.

    Raises:
        OSError: it cannot be written, or something that is no file is there (``NoRegularFile``).
    """
    with beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, with its times, in one step; errors as of `write_text`."""
    with beside(target) as temporary:
        shutil.copy2(source, temporary)


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A path beside ``target`` for a new file, which takes its place at the end, if nothing went wrong."""
    files.require_place(target)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        yield temporary
        files.put(temporary, target)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def require_place(path: Path, how: str) -> None:
    """Refuse a path that the user named if no file can stand there, before much is computed for it.

    Args:
        how: how to name another, as ``out=FILE``.

    Raises:
        InputError: there is a device, a pipe, a socket or a folder, or nobody may look.
    """
    try:
        files.require_place(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); name another file with {how}") from error
