"""Look at many images on several threads, for a bounded time each.

Reading a regular file may never end either: a server that does not answer, a file system that is a program. Nobody can
stop a thread that reads; so the stage stops, and its process ends without waiting for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from stages.errors import DataError
from stages.processes import cores

IMAGE_SECONDS = 120.0
"""For one image; the largest ones that can be decoded take a few."""

IMAGE_BYTES = 1 << 28
"""What a large photograph takes while it is read and decoded (80 megapixels)."""

T = TypeVar("T")


@contextmanager
def threads(count: int) -> Iterator[futures.ThreadPoolExecutor]:
    """``count`` threads (at least one), as far as cores and memory go; after an error, what they are at is not waited
    for. Reading a file, its hash and OpenCV's decoding let go of the interpreter's lock, so threads are enough."""
    memory = cores.available_memory()
    most = min(count, cores.allowed_cores(), count if memory is None else memory // IMAGE_BYTES)
    pool = futures.ThreadPoolExecutor(max(1, most), "images")
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def look_at(
    look: Callable[[Path], T], paths: Sequence[Path], pool: futures.Executor, seconds: float | None = None
) -> Iterator[T]:
    """``look`` of each path, in their order.

    Args:
        seconds: after so many without a result the next image counts as unreadable; `IMAGE_SECONDS` if not given.

    Raises:
        DataError: looking at one took longer.
    """
    limit = IMAGE_SECONDS if seconds is None else seconds
    begun = [pool.submit(look, path) for path in paths]
    for path, future in zip(paths, begun, strict=True):
        try:
            yield future.result(limit)
        except futures.TimeoutError:
            raise DataError(
                f"image {path} was not read within {limit:g} s; check that the disk or the server where it lies "
                "answers, or remove it"
            ) from None
