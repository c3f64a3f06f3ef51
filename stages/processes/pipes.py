"""What every worker process does at its start: claim standard output, die with the parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import IO


def claim_stdout() -> IO[str]:
    """Keep the real standard output for events, and send everybody else's to standard error."""
    own = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(own, "w", encoding="utf-8")


def die_with_parent(how: signal.Signals = signal.SIGTERM) -> None:
    """Ask Linux for a signal when the parent dies, so that no orphan keeps computing beside its successor."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, how)
    if os.getppid() != parent:  # it died in between
        raise SystemExit(128 + how)
