"""Ends what its parent has started, when that one is gone: ``python -I -S reaper.py`` (``stages.processes.children``).

Its standard input is a pipe whose other end its parent alone has. The kernel closes that when the parent ends, however
that happens, and on every system. Lines come through it: ``+ PID HOW GRACE`` for a process that leads a group of its
own, ``- PID`` for one that has ended. When there are no more, the groups that are left have ``GRACE`` seconds. ``HOW``
is ``term`` where somebody has to tell them (SIGTERM), and ``knows`` where the kernel does: a second SIGTERM would cut
short what the first one has them do. Then they are killed, which also ends those that are blocked in a read or loop in
native code.

It imports nothing of the project's, and is small: it waits as long as its parent lives.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable

_LOOK_SECONDS = 0.05


def main(lines: Iterable[str] = sys.stdin) -> None:
    """Listen until the parent is gone, then end what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the parent and the others, who would be left then
    left: dict[int, tuple[str, float]] = {}
    for line in lines:
        sign, pid, *how = line.split()
        if sign == "+":
            left[int(pid)] = (how[0], float(how[1]))
        else:
            left.pop(int(pid), None)
    _end(left)


def _end(left: dict[int, tuple[str, float]]) -> None:
    began = time.monotonic()
    for pid, (how, grace) in left.items():
        if how == "term" and grace:
            _send(pid, signal.SIGTERM)
    while left:
        for pid, (_, grace) in list(left.items()):
            if time.monotonic() - began >= grace:
                _send(pid, signal.SIGKILL)
                del left[pid]
            elif not _send(pid, 0):
                del left[pid]
        if left:
            time.sleep(_LOOK_SECONDS)


def _send(group: int, number: int) -> bool:
    """Send a signal (0: none); whether anybody is left in the group."""
    try:
        os.killpg(group, number)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
