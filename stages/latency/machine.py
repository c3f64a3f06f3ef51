"""What the machine did while something was timed: CPU time, strangers on our CPUs, clock speed, memory, energy.

Linux tells it under ``/proc`` and ``/sys``; what a system does not tell is ``None``, never a guess.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.latency.gpu import GpuProbe, GpuUsage, first_gpu

PROC, SYS = Path("/proc"), Path("/sys")
_PROBE_LOOPS, _PROBE_TRIES = 8_000, 5


@dataclass(frozen=True)
class Usage:
    """One stretch of timing.

    Attributes:
        wall_s: how long it lasted.
        cpu_s: CPU time of this process, all threads.
        foreign_s: CPU seconds that others (processes, the kernel's interrupts, the hypervisor) took on the CPUs we are
            pinned to, and on the hyper-threads beside them.
        waited_s: how long our threads stood in the queue for a CPU.
        involuntary: times the kernel took the CPU away.
        probe_s: shortest time of a fixed piece of work: it grows when the CPU's clock falls.
        energy_j: what the processor packages consumed, everything that ran on them included.
        gpu_energy_j: what the GPU consumed, likewise; ``None`` for an engine that runs on the CPU.
        gpu: what else the GPU did, likewise.
    """

    wall_s: float
    cpu_s: float
    foreign_s: float | None = None
    waited_s: float | None = None
    involuntary: int | None = None
    probe_s: float | None = None
    energy_j: float | None = None
    gpu_energy_j: float | None = None
    gpu: GpuUsage | None = None


Meter = Callable[[], float]
"""Joules consumed since some fixed moment."""


class UsageMeter:
    """Measures `Usage` from ``start`` to ``stop``, with the readings of this process and of some CPUs."""

    def __init__(
        self,
        cpus: Sequence[int],
        proc: Path = PROC,
        sys: Path = SYS,
        meter: Meter | None = None,
        gpu: GpuProbe | None = None,
    ) -> None:
        self._proc, self._sys, self._meter, self._gpu = proc, sys, meter, gpu
        self._cpus = sorted({sibling for cpu in cpus for sibling in siblings(cpu, sys)})
        self._before: tuple[float, float, float | None, float | None, int, float | None, float | None] | None = None
        self._probe = 0.0

    def start(self) -> None:
        self._probe = probe()
        if self._gpu:
            self._gpu.start()
        self._before = self._read()

    def stop(self) -> Usage:
        if self._before is None:
            raise ValueError("the watch was not started")
        before, after = self._before, self._read()
        gpu = self._gpu.stop() if self._gpu else None  # before its clocks fall
        wall, cpu = after[0] - before[0], after[1] - before[1]
        foreign = None
        if before[2] is not None and after[2] is not None:
            foreign = max(0.0, after[2] - before[2] - cpu)
        return Usage(
            wall,
            cpu,
            foreign,
            None if before[3] is None or after[3] is None else max(0.0, after[3] - before[3]),
            after[4] - before[4],
            min(self._probe, probe()),
            # A counter that has turned over is no reading.
            None if before[5] is None or after[5] is None or after[5] < before[5] else after[5] - before[5],
            None if before[6] is None or after[6] is None or after[6] < before[6] else after[6] - before[6],
            gpu,
        )

    def _read(self) -> tuple[float, float, float | None, float | None, int, float | None, float | None]:
        own = resource.getrusage(resource.RUSAGE_SELF)
        return (
            time.perf_counter(),
            own.ru_utime + own.ru_stime,
            busy_seconds(self._cpus, self._proc),
            waited_seconds(self._proc),
            own.ru_nivcsw,
            energy_joules(self._sys),
            self._meter() if self._meter else None,
        )


def siblings(cpu: int, sys: Path = SYS) -> list[int]:
    """The hyper-threads that share a core with ``cpu``, itself among them."""
    path = sys / f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
    try:
        text = path.read_text().strip()
    except OSError:
        return [cpu]
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def busy_seconds(cpus: Sequence[int], proc: Path = PROC) -> float | None:
    """Seconds that ``cpus`` have worked for anybody since the machine started (idle and waiting for disks left out)."""
    wanted = {f"cpu{cpu}" for cpu in cpus}
    try:
        lines = (proc / "stat").read_text().splitlines()
    except OSError:
        return None
    total, seen = 0.0, 0
    for line in lines:
        name, *fields = line.split()
        if name in wanted:
            values = [int(f) for f in fields]
            total += sum(values[:3]) + sum(values[5:8])  # user nice system | idle iowait | irq softirq steal
            seen += 1
    if not wanted or seen < len(wanted):
        return None
    return total / os.sysconf("SC_CLK_TCK")


def waited_seconds(proc: Path = PROC) -> float | None:
    """Seconds that the threads of this process have stood in the queue for a CPU."""
    total = 0
    try:
        for task in (proc / "self" / "task").iterdir():
            total += int((task / "schedstat").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return total * 1e-9


def energy_joules(sys: Path = SYS) -> float | None:
    """The packages' energy counters (RAPL); ``None`` where there are none or they may not be read."""
    total, found = 0.0, False
    for zone in sorted((sys / "class" / "powercap").glob("intel-rapl:*")):
        if zone.name.count(":") > 1:  # a part of a package, counted in it
            continue
        try:
            total += int((zone / "energy_uj").read_text()) * 1e-6
        except (OSError, ValueError):
            return None
        found = True
    return total if found else None


def gpu_meter(environment: Mapping[str, str] = os.environ) -> Meter | None:
    """The energy counter of this process's first GPU; ``None`` where NVML, or the GPU, has none to read."""
    found = first_gpu(environment)
    if found is None:
        return None
    nvml, device = found
    try:
        nvml.nvmlDeviceGetTotalEnergyConsumption(device)
    except nvml.NVMLError:
        return None
    return lambda: float(nvml.nvmlDeviceGetTotalEnergyConsumption(device)) * 1e-3  # counted in millijoules


def probe() -> float:
    """Seconds of a fixed piece of work, the shortest of a few tries."""
    best = float("inf")
    for _ in range(_PROBE_TRIES):
        start = time.perf_counter()
        x = 1
        for _ in range(_PROBE_LOOPS):
            x = (x * 5 + 1) & 0xFFFF
        best = min(best, time.perf_counter() - start)
    return best


def memory_mb(proc: Path = PROC) -> dict[str, float | None]:
    """Resident memory of this process now and at its peak, in MB (10^6 bytes)."""
    found: dict[str, float | None] = {"now": None, "peak": None}
    try:
        lines = (proc / "self" / "status").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            found["now" if name == "VmRSS" else "peak"] = int(value.split()[0]) * 1024 / 1e6
    return found
