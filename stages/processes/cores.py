"""What this process may use of the machine: CPU cores and memory, also where a container allows less than there is.

Linux tells it under ``/proc`` and ``/sys/fs/cgroup`` (both versions of control groups; the limits of all groups around
this one hold). Elsewhere cores are those of the machine, and memory is not known.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
_CGROUPS = "sys/fs/cgroup"
_CPU_V1 = ("cpu", "cpu,cpuacct", "cpuacct,cpu")
_NO_LIMIT = 1 << 60
"""Bytes; version 1 writes a number about as large as there are where nothing is limited."""


def allowed_cores(root: Path = ROOT) -> int:
    """How many cores this process may use, at least 1: its CPUs (``taskset``, a container's set), and the share of
    processor time that its control groups have, rounded down."""
    count: float = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    for folder in _groups(root, "", ("",)):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        count = min(count, _share(quota, period))
    for folder in _groups(root, "cpu", _CPU_V1):
        count = min(count, _share(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")))
    return max(1, int(count))


def available_memory(root: Path = ROOT) -> int | None:
    """Bytes that this process and those that it starts can still take; ``None`` where the system does not tell."""
    found = [_listed(root / "proc/meminfo", "MemAvailable:", 1024)]
    for kind, used, most, cache in (
        ("", "memory.current", "memory.max", "inactive_file"),
        ("memory", "memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"),
    ):
        for folder in _groups(root, kind, (kind,)):
            limit, taken = _number(_text(folder / most)), _number(_text(folder / used))
            if limit is not None and taken is not None and limit < _NO_LIMIT:
                # Files that were read and may be dropped count as used there.
                found.append(max(0, limit - taken + (_listed(folder / "memory.stat", cache, 1) or 0)))
    known = [value for value in found if value is not None]
    return min(known) if known else None


def peak_memory() -> int:
    """Bytes that were resident in this process at its peak."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _groups(root: Path, kind: str, mounts: tuple[str, ...]) -> Iterator[Path]:
    """The folders of this process's control group and of all around it, of one controller (none: of version 2).

    In a container the group may have its name on the host, of which no folder is seen; then only the outermost one is.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (number == "0" and not controllers) if not kind else kind in controllers.split(","):
            inside = Path(path.strip().lstrip("/"))
            for mount in mounts:
                yield from (root / _CGROUPS / mount / part for part in (inside, *inside.parents))


def _share(quota: str, period: str) -> float:
    """Cores' worth of processor time; infinite without a limit."""
    allowed, of = _number(quota), _number(period)
    return allowed / of if allowed is not None and of else float("inf")


def _listed(file: Path, name: str, unit: int) -> int | None:
    for line in _text(file).splitlines():
        first, _, rest = line.partition(" ")
        if first == name and (value := _number(rest.split()[0] if rest.split() else "")) is not None:
            return value * unit
    return None


def _number(text: str) -> int | None:
    """``None`` for ``max``, -1 and what is no number."""
    return int(text) if text.isascii() and text.isdigit() else None


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
