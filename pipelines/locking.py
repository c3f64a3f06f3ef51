"""A lock between processes of one machine that goes away with its holder, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from stages.errors import StoreError


@contextlib.contextmanager
def exclusive(path: Path, waiting: Callable[[str], object] | None = None) -> Iterator[None]:
    """Hold the lock on the file ``path``; a second process waits for the first.

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
