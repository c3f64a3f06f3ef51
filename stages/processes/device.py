"""The device that this process computes on, as the run asked for it; Paddle's own names are in
``stages.paddle.runtime.place``.

A worker is told once, before its stage begins, so that no program of a stage can be forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

AUTO, CPU, GPU = "auto", "cpu", "gpu"
_FORM = re.compile(rf"{AUTO}|{CPU}|{GPU}(?::\d{{1,3}})?")

Say = Callable[[str], None]


def is_device(text: object) -> bool:
    """Whether ``text`` names a device: ``auto``, ``cpu``, ``gpu`` or ``gpu:N``."""
    return isinstance(text, str) and _FORM.fullmatch(text) is not None


@dataclass(frozen=True)
class Requested:
    """What the run asked for, and who wants to hear what came of it."""

    device: str = CPU
    """A process that nobody told anything (a test, a script of one's own) stays on the CPU."""
    info: Say = print
    warn: Say = print

    @property
    def index(self) -> int:
        """The number of the GPU among those that the process sees; 0 unless one is named."""
        return int(self.device.partition(":")[2] or 0)


_requested = Requested(info=lambda text: None, warn=lambda text: None)


def request_device(device: str, info: Say, warn: Say) -> None:
    """Tell this process where to compute; ``info`` and ``warn`` hear what came of it."""
    global _requested
    _requested = Requested(device, info, warn)


def requested() -> Requested:
    """What this process was told."""
    return _requested
