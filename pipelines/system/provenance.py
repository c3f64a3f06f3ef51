"""Where and when a run happened, in words that can be kept with it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from stages.processes import children, python


def hardware() -> str:
    """The processor's name, e.g. ``Intel(R) Xeon(R) ... (2 cores)``."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name.replace('(R)', '').replace('(TM)', '')} ({available_cores()} cores)"


def available_cores() -> int:
    """How many cores this process may use (a container or ``taskset`` may allow fewer than the machine has)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def driver() -> str | None:
    """NVIDIA's driver, as it names itself, if there is one."""
    version = Path("/proc/driver/nvidia/version")
    return version.read_text().splitlines()[0].strip() if version.is_file() else None


def machine() -> str:
    """This machine until it restarts: what a timing was taken on. Empty where the system does not tell."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{platform.node()} {boot.read_text().strip()}" if boot.is_file() else ""


def commit() -> str | None:
    """The git commit of detpress itself, if it runs from a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        out = children.run(["git", "-C", str(root), "rev-parse", "HEAD"], env=python.outer_environment(), timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None  # no git here: the run is not worse for it
    return out.stdout.strip() if out.returncode == 0 else None


def versions() -> dict[str, str]:
    """Every installed distribution and its version."""
    return {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
