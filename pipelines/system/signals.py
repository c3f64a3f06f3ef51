"""The signals that ask a command to stop: SIGTERM, and SIGHUP of a terminal that is closed."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from stages.errors import ExitCode

STOPS = (signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], None]


def unwind(number: int, frame: FrameType | None) -> None:
    """Stop as Ctrl-C does, so that workers are ended and temporary folders removed."""
    if number == signal.SIGHUP:
        signal.signal(number, signal.SIG_IGN)  # the kernel and the shell both send one
    raise SystemExit(ExitCode.TERMINATED)


@contextlib.contextmanager
def stopped_by(handler: Handler = unwind) -> Iterator[None]:
    """Let ``handler`` hear the signals; those that whoever started us has ignored (``nohup``) stay so.

    Threads other than the main one hear none: whoever runs us there handles them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOPS}
    heard = [number for number in STOPS if number == signal.SIGTERM or before[number] != signal.SIG_IGN]
    for number in heard:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
