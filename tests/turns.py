"""Whose turn it is among the workers of pytest-xdist: a test that times something runs while no other test does."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Hold a turn in ``folder``; one that is to be ``alone`` waits for those that are held, and the later ones for it.

    Two locked files: who wants to be alone keeps the door closed, so that not always another one comes first.
    """
    how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    with (folder / "turn.lock").open("w") as held:
        with (folder / "door.lock").open("w") as door:
            fcntl.flock(door, how)
            fcntl.flock(held, how)
            fcntl.flock(door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(held, fcntl.LOCK_UN)  # closing it would not do, where a forked process has it too
