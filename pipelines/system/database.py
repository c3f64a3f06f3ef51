"""SQLite databases that are whole or absent: made beside their place and renamed into it.

Tables that are made in place are made in many transactions: a kill or a full disk in between leaves a file that nobody
can use and nobody makes anew.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipelines.system.locks import exclusive, try_exclusive
from pipelines.system.output import say
from stages.errors import InputError
from stages.outside import files

Whole = Callable[[sqlite3.Connection, set[str]], bool]
"""Whether a database, given also the names of its tables, came to the end of its making."""

_MEANS_SOMETHING = set("?%")
_BESIDE = ("", "-journal", "-wal", "-shm")
"""A journal belongs to the file whose name it bears: left behind, SQLite would roll it back into the next one."""
_PATIENCE = 1.0  # seconds for a database that somebody writes to; it is whole then


def sqlite_url(path: Path) -> str:
    """The URL of a file, for SQLAlchemy, in whose URLs ``?`` and ``%`` mean something.

    Raises:
        InputError: this SQLAlchemy cannot open such a file.
    """
    plain = f"sqlite:///{path}"
    if not _MEANS_SOMETHING & set(plain):
        return plain
    from sqlalchemy.engine import make_url

    for url in (plain, "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")):  # it depends on its version
        if make_url(url).database == str(path):
            return url
    raise InputError(f"a database cannot be kept in {path.parent}; choose a folder without ? and % in its name")


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL; ``None`` for a database elsewhere.

    Raises:
        InputError: there is something that is no file: a new database would take the place of a device or a folder.
    """
    file = url.removeprefix("sqlite:///")
    if file == url or file in ("", ":memory:"):
        return None
    if _MEANS_SOMETHING & set(url):
        from sqlalchemy.engine import make_url

        file = make_url(url).database or file
    path = Path(file)
    try:
        files.require_place(path)
    except files.NoRegularFile as error:
        raise InputError(f"{path} is no file, so no database can be kept there; name another one") from error
    return path


def ensure(path: Path, make: Callable[[Path], object], whole: Whole, *, mode: int = 0o666) -> None:
    """Let there be a database at ``path``. A half one from before is kept aside, and that is told on standard error.

    One that is there in a folder that can only be read stays as it is.

    Args:
        make: makes one at the path that it is given, and has closed it when it returns.
        mode: permissions of a new file, less the umask.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path):
            if text := _set_aside(path, whole):
                say(f"note: {text}")
            if not _size(path):
                _make(path, make, mode)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or not _size(path):
            raise


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep others from making or changing the tables of the database at ``path``."""
    with _lock_of(path).open("w") as stream, exclusive(stream):
        yield


@contextlib.contextmanager
def unsynced(path: Path) -> Iterator[None]:
    """Let SQLAlchemy not wait for the disk at each of many transactions on a file that nobody has yet."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def opened(connection: Any, record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            file = connection.execute("PRAGMA database_list").fetchone()[2]
            if file and path.samefile(file):
                connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", opened)
    try:
        yield
    finally:
        event.remove(Engine, "connect", opened)


def set_aside(path: Path, whole: Whole) -> str | None:
    """Give a half database another name; what to tell the user of it. ``None`` if there is none, or one in the making.

    Raises:
        OSError: its folder cannot be written.
    """
    if not _size(path):
        return None
    with _lock_of(path).open("w") as stream:
        return _set_aside(path, whole) if try_exclusive(stream) else None


def _set_aside(path: Path, whole: Whole) -> str | None:
    if not _size(path) or _is_whole(path, whole):
        return None
    kept = path.with_name(f"{path.name}.incomplete-{time.strftime('%Y%m%d-%H%M%S')}")
    for suffix in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(kept.with_name(kept.name + suffix))
    return f"{path} was left half made by a process that was killed; it is now {kept.name}, and a new one is made"


def _make(path: Path, make: Callable[[Path], object], mode: int) -> None:
    new = path.with_name(f".{path.name}.new")
    _remove(new)
    try:
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        make(new)
        with new.open("rb") as made:
            os.fsync(made.fileno())
        files.put(new, path)
    finally:
        _remove(new)


def _is_whole(path: Path, whole: Whole) -> bool:
    """Also of one that cannot be read: whoever opens it says why, and it is not ours to move."""
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_PATIENCE)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return whole(connection, {str(name) for (name,) in rows})
    except sqlite3.Error:
        return True


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _size(path: Path) -> int:
    """In bytes; an empty file is no database yet."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _remove(path: Path) -> None:
    for suffix in _BESIDE:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
