"""Locks between processes of one machine that go away with their holder, however that ends.

They are ``flock`` locks on open files: `exclusive`, `shared` and `try_exclusive` take a file that is open already, and
closing it releases the lock too. `held` only asks. `signed` is the lock of a retraining, which says who has it and can
be handed to a child process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from pipelines.system.times import local
from stages.errors import StoreError

OpenFile = int | IO[Any]
"""A descriptor, or what has one."""

UNSIGNED = "another process"
"""Who holds a lock that is taken and not signed (yet)."""
INHERITED = "DETPRESS_LOCK"
"""Environment variable with the number of a descriptor that holds a lock: the scheduler's child gets one. The kernel
releases the lock when the last process has closed it, so a child that outlives a killed scheduler keeps it."""


@contextlib.contextmanager
def exclusive(file: OpenFile, waiting: Callable[[], object] | None = None) -> Iterator[None]:
    """Hold the file for this process alone.

    Args:
        waiting: called once before the wait, if another process has it.
    """
    with _locked(file, fcntl.LOCK_EX, waiting):
        yield


@contextlib.contextmanager
def shared(file: OpenFile, waiting: Callable[[], object] | None = None) -> Iterator[None]:
    """Hold the file together with others that share it; nobody has it `exclusive` meanwhile."""
    with _locked(file, fcntl.LOCK_SH, waiting):
        yield


def try_exclusive(file: OpenFile) -> bool:
    """Take the file for this process alone if nobody has it, until it is closed; whether it was taken."""
    return _try(file, fcntl.LOCK_EX)


def held(path: Path) -> bool:
    """Whether a process holds the lock on the file ``path``; it is not taken, and a missing file is held by nobody."""
    try:
        with path.open() as stream:
            return not _try(stream, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


# --- the lock of a retraining ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def signed(path: Path, waiting: Callable[[str], object] | None = None) -> Iterator[None]:
    """Hold the lock on the file ``path`` alone, and write into it who holds it.

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
        with exclusive(stream, None if waiting is None else lambda: waiting(holder(path))):
            sign(stream.fileno(), signature())
            yield


def acquire(path: Path) -> int | None:
    """A descriptor that holds the lock, to be handed to a child, or ``None`` if somebody else has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    if try_exclusive(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def sign(descriptor: int, text: str) -> None:
    """Write into the lock's file who holds it, for those who have to wait."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{text}\n".encode(), 0)


def signature(who: str = "") -> str:
    """What a holder writes into a lock's file: who it is, and since when.

    Args:
        who: what people know it as, e.g. ``run RUN_ID``.
    """
    process = f"process {os.getpid()}"
    return f"{who} ({process}), since {local(time.time())}" if who else f"{process}, since {local(time.time())}"


@contextlib.contextmanager
def signing(file: IO[Any] | int, who: str = "") -> Iterator[None]:
    """Have this process's `signature` in a lock's file while it holds the lock; nothing where it may not be written."""
    descriptor = file if isinstance(file, int) else file.fileno()
    with contextlib.suppress(OSError):
        sign(descriptor, signature(who))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)


def holder(path: Path) -> str:
    """Who holds the lock, in words."""
    with contextlib.suppress(OSError):
        if text := path.read_text(errors="replace").strip():
            return text
    return UNSIGNED


def _inherited(descriptor: int) -> bool:
    try:
        inherited, asked = os.fstat(int(os.environ[INHERITED])), os.fstat(descriptor)
    except (KeyError, ValueError, OSError):
        return False
    return (inherited.st_dev, inherited.st_ino) == (asked.st_dev, asked.st_ino)


# --- the system call ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(file: OpenFile, how: int, waiting: Callable[[], object] | None) -> Iterator[None]:
    if not _try(file, how):
        if waiting is not None:
            waiting()
        fcntl.flock(file, how)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _try(file: OpenFile, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
