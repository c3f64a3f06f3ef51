"""The signals that ask a command to stop: SIGTERM, and SIGHUP of a terminal that is closed."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from stages.errors import ExitCode
from stages.processes.signals import Handler, heard

STOPS = (signal.SIGTERM, signal.SIGHUP)


def unwind(number: int, frame: FrameType | None) -> None:
    """Stop as Ctrl-C does, so that workers are ended and temporary folders removed."""
    if number == signal.SIGHUP:
        signal.signal(number, signal.SIG_IGN)  # the kernel and the shell both send one
    raise SystemExit(ExitCode.TERMINATED)


@contextlib.contextmanager
def stopped_by(handler: Handler = unwind) -> Iterator[None]:
    """Let ``handler`` hear them (`stages.processes.signals.heard`: under ``nohup`` SIGHUP stays ignored)."""
    with heard(STOPS, handler):
        yield
