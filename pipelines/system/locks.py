"""A lock between processes of one machine that goes away with its holder, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from stages.errors import StoreError

INHERITED = "DETPRESS_LOCK"
"""Environment variable with the number of a descriptor that holds a lock: the scheduler's child gets one. The kernel
releases the lock when the last process has closed it, so a child that outlives a killed scheduler keeps it."""


@contextlib.contextmanager
def exclusive(path: Path, waiting: Callable[[str], object] | None = None) -> Iterator[None]:
    """Hold the lock on the file ``path``; a second process waits for the first.

    A process that was started with the lock in its hands (see `INHERITED`) has it already.

    Args:
        waiting: called once with who holds the lock, before the wait.

    Raises:
        StoreError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+")
    except OSError as error:
        raise StoreError(
            f"cannot write to {path.parent}: {error.strerror}; set run.artifacts=FOLDER to one that is writable"
        ) from error
    with stream:
        if _inherited(stream.fileno()):
            yield
            return
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                stream.seek(0)
                waiting(stream.read().strip() or "another process")
            fcntl.flock(stream, fcntl.LOCK_EX)
        stream.seek(0)
        stream.truncate()
        stream.write(f"process {os.getpid()}\n")
        stream.flush()
        yield


def held(path: Path) -> bool:
    """Whether a process holds the lock on the file ``path``; it is not taken, and a missing file is held by nobody."""
    try:
        with path.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def acquire(path: Path) -> int | None:
    """A descriptor that holds the lock, to be handed to a child, or ``None`` if somebody else has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def sign(descriptor: int, text: str) -> None:
    """Write into the lock's file who holds it, for those who have to wait."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{text}\n".encode(), 0)


def holder(path: Path) -> str:
    """Who holds the lock, in words."""
    with contextlib.suppress(OSError):
        if text := path.read_text(errors="replace").strip():
            return text
    return "another process"  # taken, and not signed yet


def _inherited(descriptor: int) -> bool:
    try:
        mine, wanted = os.fstat(int(os.environ[INHERITED])), os.fstat(descriptor)
    except (KeyError, ValueError, OSError):
        return False
    return (mine.st_dev, mine.st_ino) == (wanted.st_dev, wanted.st_ino)
