"""Whether the process of a run is alive: it holds a lock in the run's folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pipelines.system.locks import exclusive, held

LOCK = ".running"


@contextlib.contextmanager
def alive(run_dir: Path) -> Iterator[None]:
    """Hold the run's lock; its file goes away when the run ends by itself."""
    path = run_dir / LOCK
    with path.open("w") as stream, exclusive(stream):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def is_alive(run_dir: Path) -> bool:
    """Whether the process of the run still works on it."""
    return held(run_dir / LOCK)
