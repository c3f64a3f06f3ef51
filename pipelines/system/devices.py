"""One measurement at a time on a device, whoever asks: locks that every detpress process of a host respects.

Two runs at once (jobs of a sweep, two people) may compute side by side, but a latency that is taken while the same
device serves another measurement is worth nothing. A measurement holds the lock of its device. Where jobs share a host,
it can ask for the whole host instead: it then waits until the stages of other runs have ended, and new ones wait.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pipelines.system.locks import UNSIGNED, exclusive, holder, shared, signing
from stages.errors import StoreError
from stages.outside.text import plain

DEVICE, HOST = "device", "host"
CPU, CUDA = "cpu", "cuda"
_QUEUE, _STAGES = "door", "work"
"""Names of two lock files. Another version of detpress on this host has to find the same ones."""
_Lock = Callable[[int, Callable[[], object]], AbstractContextManager[None]]


def device_of(options: Mapping[str, Any], fingerprint: Mapping[str, str]) -> str:
    """``cpu`` or ``cuda``: where an engine with these options runs."""
    named = options.get("device") or options.get("provider")
    if named is not None:
        return CPU if named == CPU else CUDA
    return CUDA if "gpu" in fingerprint else CPU


class DeviceLocks:
    """The locks of this host, files of ``folder``; they go with the processes that hold them."""

    def __init__(self, folder: str | Path | None = None, *, alone: str = DEVICE, who: str = "") -> None:
        """
        Args:
            folder: the same for all processes that share the devices; ``None``: one in the temporary folder.
            alone: what a measurement has for itself, its ``DEVICE`` or the ``HOST``.
            who: what others are told that they wait for, e.g. ``run RUN_ID``.
        """
        self.who = who
        self.folder = Path(folder) if folder else Path(tempfile.gettempdir()) / "detpress-locks"
        self.alone = alone

    @contextmanager
    def timing(self, device: str, wait: Callable[[str], None]) -> Iterator[None]:
        """Hold the device (or the host); ``wait`` is told what for, should it take long."""
        with ExitStack() as locks:
            if self.alone == HOST:
                # Take the queue lock first, so that new stages cannot starve a waiting measurement.
                locks.enter_context(self._lock(exclusive, _QUEUE, "another measurement on this host", wait))
                locks.enter_context(self._lock(exclusive, _STAGES, "the stages of other runs on this host", wait))
            else:
                locks.enter_context(self.working(wait))
            name = device if device != CUDA else f"{CUDA}-{_first_gpu()}"
            locks.enter_context(self._lock(exclusive, name, f"another measurement on {name}", wait))
            yield

    @contextmanager
    def working(self, wait: Callable[[str], None]) -> Iterator[None]:
        """Tell that a stage computes, so that a measurement that wants the host for itself can wait for its end."""
        with ExitStack() as locks:
            with self._lock(shared, _QUEUE, "a measurement that has this host for itself", wait):
                locks.enter_context(self._lock(shared, _STAGES, "a measurement on this host", wait))
            yield

    @contextmanager
    def _lock(self, how: _Lock, name: str, what: str, wait: Callable[[str], None]) -> Iterator[None]:
        descriptor = self._open(name)
        try:
            with ExitStack() as held:
                held.enter_context(how(descriptor, lambda: wait(f"waits for {what}{self._named(name)}")))
                if how is exclusive:
                    held.enter_context(signing(descriptor, self.who))
                yield
        finally:
            os.close(descriptor)

    def _named(self, name: str) -> str:
        """Who holds a lock that one has it alone, since when; empty where it has not said so."""
        text = holder(self.folder / name)
        return f": {plain(text)}" if text != UNSIGNED else ""

    def _open(self, name: str) -> int:
        path, flags = self.folder / name, os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            if not self.folder.is_dir():
                self.folder.mkdir(parents=True, exist_ok=True)
                self.folder.chmod(0o1777)  # others on this host lock the same devices
            try:
                return os.open(path, flags | os.O_RDWR)
            except PermissionError:  # another user's: it can be locked, not signed
                return os.open(path, flags | os.O_RDONLY)
            except FileNotFoundError:
                return os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StoreError(
                f"cannot lock {path}: {error.strerror}; set run.locks=FOLDER to one that is writable, the same for "
                "all runs of this host"
            ) from error


def _first_gpu() -> str:
    """The GPU that engines of this process run on, as its number on the host."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip() or "0"
