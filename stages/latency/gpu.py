"""What a GPU did while something was timed, as NVIDIA's NVML tells: its clocks, what slowed them, who else was there.

What NVML or a GPU does not tell is ``None``, never a guess.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SLOWDOWNS = {
    "nvmlClocksThrottleReasonHwSlowdown": "the hardware slowed it down",
    "nvmlClocksThrottleReasonHwThermalSlowdown": "it was too hot",
    "nvmlClocksThrottleReasonSwThermalSlowdown": "it was too hot",
    "nvmlClocksThrottleReasonHwPowerBrakeSlowdown": "the power supply braked it",
}
"""NVML's bits that make a timing worthless -> why. A power cap is none of them: under it the clock may hold."""


@dataclass(frozen=True)
class GpuUsage:
    """One stretch of timing on a GPU.

    Attributes:
        sm_mhz, memory_mhz: clocks at the end of the stretch, while they are still up.
        slowdowns: what held the clock down, as `SLOWDOWNS` words it.
        foreign_share: largest share of the GPU's time that one other process took, of 1.
        foreign: how many other processes computed on the GPU.
        foreign_mb: memory (10^6 bytes) that they held.
        celsius: temperature.
        persistence: whether the driver stays loaded while nobody uses the GPU.
        ecc: whether memory errors are corrected.
    """

    sm_mhz: int | None = None
    memory_mhz: int | None = None
    slowdowns: list[str] = field(default_factory=list)
    foreign_share: float | None = None
    foreign: int | None = None
    foreign_mb: float | None = None
    celsius: int | None = None
    persistence: bool | None = None
    ecc: bool | None = None


class GpuProbe:
    """Reads the GPU that CUDA calls device 0 in this process."""

    def __init__(self, nvml: Any, device: Any, pid: int | None = None) -> None:
        """
        Args:
            nvml: the module ``pynvml``, initialized.
            device: its handle of the GPU.
            pid: this process; a stand-in gives another.
        """
        self._nvml, self._device, self._pid = nvml, device, os.getpid() if pid is None else pid
        self._since = 0

    def start(self) -> None:
        """Forget what happened before."""
        samples = self._ask(lambda n, d: n.nvmlDeviceGetProcessUtilization(d, self._since)) or []
        self._since = max((int(sample.timeStamp) for sample in samples), default=self._since)

    def stop(self) -> GpuUsage:
        """What happened since ``start``."""
        others, held = self._others()
        return GpuUsage(
            sm_mhz=self._ask(lambda n, d: int(n.nvmlDeviceGetClockInfo(d, n.NVML_CLOCK_SM))),
            memory_mhz=self._ask(lambda n, d: int(n.nvmlDeviceGetClockInfo(d, n.NVML_CLOCK_MEM))),
            slowdowns=self._slowdowns(),
            foreign_share=self._foreign_share(),
            foreign=others,
            foreign_mb=held,
            celsius=self._ask(lambda n, d: int(n.nvmlDeviceGetTemperature(d, n.NVML_TEMPERATURE_GPU))),
            persistence=self._ask(lambda n, d: bool(n.nvmlDeviceGetPersistenceMode(d))),
            ecc=self._ask(lambda n, d: bool(n.nvmlDeviceGetEccMode(d)[0])),
        )

    def _ask(self, question: Callable[[Any, Any], Any]) -> Any:
        """The answer; ``None`` if this GPU or driver has none."""
        try:
            return question(self._nvml, self._device)
        except self._nvml.NVMLError:
            return None

    def _slowdowns(self) -> list[str]:
        bits = self._ask(lambda n, d: int(n.nvmlDeviceGetCurrentClocksThrottleReasons(d))) or 0
        return sorted({why for name, why in SLOWDOWNS.items() if bits & int(getattr(self._nvml, name))})

    def _others(self) -> tuple[int | None, float | None]:
        """How many other processes compute there, and the memory that they hold."""
        there = self._ask(lambda n, d: n.nvmlDeviceGetComputeRunningProcesses(d))
        if there is None:
            return None, None
        others = [process for process in there if process.pid != self._pid]
        if len(others) == len(there) and there:
            # In a container NVML names processes as the host does, and this one is not to be found: it is one of them,
            # the one that holds most as far as anybody can tell.
            others = sorted(others, key=lambda process: process.usedGpuMemory or 0)[:-1]
        return len(others), sum(process.usedGpuMemory or 0 for process in others) / 1e6

    def _foreign_share(self) -> float | None:
        samples = self._ask(lambda n, d: n.nvmlDeviceGetProcessUtilization(d, self._since))
        if samples is None or all(sample.pid != self._pid for sample in samples):
            return None  # not told, or told by the host's names
        return max((sample.smUtil / 100 for sample in samples if sample.pid != self._pid), default=0.0)


def first_gpu(environment: Mapping[str, str]) -> tuple[Any, Any] | None:
    """``pynvml``, initialized, and its handle of the GPU that CUDA calls device 0; ``None`` without NVML or a GPU.

    ``CUDA_VISIBLE_DEVICES`` may name it by index or by UUID.
    """
    try:
        import pynvml
    except ImportError:
        return None
    first = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"
    try:
        pynvml.nvmlInit()
        find = pynvml.nvmlDeviceGetHandleByIndex if first.isdigit() else pynvml.nvmlDeviceGetHandleByUUID
        return pynvml, find(int(first) if first.isdigit() else first)
    except pynvml.NVMLError:
        return None


def gpu_probe(environment: Mapping[str, str] = os.environ) -> GpuProbe | None:
    """The probe of this process's first GPU; ``None`` without one."""
    found = first_gpu(environment)
    return None if found is None else GpuProbe(*found)


def evidence(usages: Sequence[GpuUsage]) -> dict[str, Any]:
    """What the blocks of a timing say together: the worst of each, the range of the clock."""
    clocks = [usage.sm_mhz for usage in usages if usage.sm_mhz]
    last = usages[-1]
    untold = any(usage.foreign_share is None and usage.foreign for usage in usages)

    def worst(values: Sequence[float | None]) -> float | None:
        return max((value for value in values if value is not None), default=None)

    return {
        "sm_mhz": [min(clocks), max(clocks)] if clocks else None,
        "memory_mhz": last.memory_mhz,
        "slowdowns": sorted({why for usage in usages for why in usage.slowdowns}),
        "foreign": worst([usage.foreign for usage in usages]),
        "foreign_mb": worst([usage.foreign_mb for usage in usages]),
        "foreign_share": None if untold else worst([usage.foreign_share for usage in usages]),
        "celsius": worst([usage.celsius for usage in usages]),
        "persistence": last.persistence,
        "ecc": last.ecc,
    }


def reasons(found: Mapping[str, Any], share: float, slower: float) -> list[str]:
    """Why a timing on this GPU cannot be believed.

    Args:
        found: what `evidence` gave.
        share: largest share of the GPU's time that others may take.
        slower: the clock's highest over its lowest value from which on it counts as throttled.
    """
    told = []
    if found["foreign_share"] is not None:
        if found["foreign_share"] > share:
            told.append(f"GPU shared with other processes ({found['foreign_share']:.0%} of its time)")
    elif found["foreign"]:
        several = "other process" if found["foreign"] == 1 else "other processes"
        told.append(
            f"GPU shared with {found['foreign']} {several} whose load is not told ({found['foreign_mb']:.0f} MB)"
        )
    if found["slowdowns"]:
        told.append(f"throttling of the GPU ({', '.join(found['slowdowns'])})")
    elif found["sm_mhz"] and found["sm_mhz"][1] > slower * found["sm_mhz"][0]:
        told.append(f"the GPU's clock moved between {found['sm_mhz'][0]} and {found['sm_mhz'][1]} MHz")
    return told
