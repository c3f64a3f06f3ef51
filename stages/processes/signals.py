"""Who hears a signal meanwhile, and that afterwards everything is as before."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], None]


@contextlib.contextmanager
def heard(numbers: Iterable[signal.Signals], handler: Handler) -> Iterator[None]:
    """Let ``handler`` hear signals; those that whoever started this process had it ignore stay ignored.

    So it is with SIGINT in the background job of a script, and with SIGHUP under ``nohup``. SIGTERM is meant for this
    process, and always heard. Threads other than the main one hear none: whoever runs us there handles them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    ours = {n: usual for n, usual in before.items() if n == signal.SIGTERM or usual != signal.SIG_IGN}
    for number in ours:
        signal.signal(number, handler)
    try:
        yield
    finally:
        put_back(ours)


@contextlib.contextmanager
def kept(numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """Put back who hears signals, where a library that is called meanwhile takes them for itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        put_back(before)


def put_back(before: Mapping[signal.Signals, Any]) -> None:
    """Let those hear signals whom ``signal.getsignal`` named; of native code it names nobody, so that is the system."""
    for number, usual in before.items():
        signal.signal(number, signal.SIG_DFL if usual is None else usual)
