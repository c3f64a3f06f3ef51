"""Which process a tracked run belongs to, and whether that process still lives."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

from pipelines.system.user import user_name

_CLOCK_SECONDS = 5  # a process's start is read off the system clock, which may be set while it runs


def this_process() -> dict[str, str]:
    """Tags that name this process beyond its pid, which is given away again after its end."""
    return {
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
        "pid_namespace": _pid_namespace(),
        "process_start": str(round(psutil.Process().create_time())),
        "mlflow.user": user_name(),
    }


def is_here(tags: Mapping[str, str]) -> bool:
    """Whether the process that set ``tags`` is (or was) one of this machine and container: its pid means something."""
    return tags.get("host") == socket.gethostname() and tags.get("pid_namespace") == _pid_namespace()


def is_gone(tags: Mapping[str, str]) -> bool:
    """Whether the process that set ``tags`` has ended. Of another machine or container nothing is known: ``False``."""
    if not is_here(tags):
        return False
    try:
        process = psutil.Process(int(tags["pid"]))
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        started: float = process.create_time()
    except psutil.NoSuchProcess:
        return True
    return abs(started - int(tags["process_start"])) > _CLOCK_SECONDS


def _pid_namespace() -> str:
    # Two containers of one host may share its name, and both have a process 7.
    link = Path("/proc/self/ns/pid")
    return str(link.readlink()) if link.exists() else ""
