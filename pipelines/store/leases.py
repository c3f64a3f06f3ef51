"""Leases on an object store: of the machines that want one result, one computes it and the others wait.

A lease is an object that only one can create. Its holder writes it anew every few seconds; whoever waits takes it for
lost when it stays the same for a while by the waiting process's own clock (clocks of machines are never compared), or
at once where its process was of this machine and is gone. Should two take over a lost one at the same instant, both
compute the same result, and the last one stands: nothing is lost but time.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pipelines.system.process_identity import is_gone, this_process
from stages.errors import StoreError
from stages.outside import records

BEAT_SECONDS = 10.0
LOST_SECONDS = 45.0
POLL_SECONDS = 1.0


@contextmanager
def lease(files: Any, path: str, wait: Callable[[str], None]) -> Iterator[bool]:
    """Hold the lease ``path`` on the fsspec file system ``files``; yields whether somebody else held it before.

    Args:
        wait: told once if it has to be waited for.
    """
    mine = {**this_process(), "owner": uuid.uuid4().hex, "beat": 0}
    waited = not _create(files, path, mine)
    if waited:
        wait("waits for another machine that computes the same")
        _outwait(files, path, mine)
    stop = threading.Event()
    beating = threading.Thread(target=_beat, args=(files, path, mine, stop), name="lease", daemon=True)
    beating.start()
    try:
        yield waited
    finally:
        stop.set()
        beating.join()
        with contextlib.suppress(OSError):  # a lease that stays is taken for lost
            files.rm_file(path)


def _create(files: Any, path: str, content: dict[str, Any]) -> bool:
    try:
        files.pipe_file(path, json.dumps(content).encode(), mode="create")
    except FileExistsError:
        return False
    return True


def _outwait(files: Any, path: str, mine: dict[str, Any]) -> None:
    seen, since = b"", time.monotonic()
    while True:
        try:
            found = files.cat_file(path)
        except FileNotFoundError:
            if _create(files, path, mine):
                return
            continue
        if found != seen:
            seen, since = found, time.monotonic()
        if _is_gone(found, path) or time.monotonic() - since > LOST_SECONDS:
            with contextlib.suppress(FileNotFoundError):
                files.rm_file(path)
            continue
        time.sleep(POLL_SECONDS)


def _is_gone(content: bytes, path: str) -> bool:
    """Whether a lease is one of this machine whose process has ended. Of a damaged one nothing is known."""
    try:
        return is_gone(records.parse(content, path, dict[str, Any], raises=StoreError))
    except (StoreError, KeyError, TypeError, ValueError):
        return False


def _beat(files: Any, path: str, mine: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(BEAT_SECONDS):
        mine["beat"] += 1
        with contextlib.suppress(OSError):  # the next one may get through
            files.pipe_file(path, json.dumps(mine).encode())
