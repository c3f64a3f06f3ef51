"""Stopping between two steps when asked to, with the work saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from stages.processes.signals import heard, put_back

_ASK = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """A list that gets the number of a SIGTERM or SIGINT; a second one ends the process as usual.

    A SIGINT that is ignored stays so, and in a thread other than the main one the list stays empty
    (`stages.processes.signals.heard`).
    """
    received: list[int] = []
    usual = {number: signal.getsignal(number) for number in _ASK}

    def note(number: int, frame: object) -> None:
        received.append(number)
        asked = signal.Signals(number)
        put_back({asked: usual[asked]})

    with heard(_ASK, note):
        yield received
