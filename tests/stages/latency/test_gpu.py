"""Verdicts on a GPU's timings, from a stand-in that replays NVML's answers. The tests' machine has no GPU to read."""

from __future__ import annotations

import dataclasses
import json
import sys
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from stages.latency.engine_process import usage_from_json
from stages.latency.gpu import SLOWDOWNS, GpuProbe, GpuUsage, gpu_probe
from stages.latency.machine import Usage, UsageMeter
from stages.latency.timing import Round, Series, Task
from stages.latency.validity import Limits, verdict

OWN = 4711
QUIET = GpuUsage(sm_mhz=1980, memory_mhz=2619, foreign_share=0.0, foreign=0, foreign_mb=0.0, celsius=51)


class Replayed:
    """``pynvml`` with one GPU: answers by the function's name; what is not listed is not supported."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers
        self.asked: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvmlDevice") and name != "nvmlInit":
            return getattr(pynvml, name)  # the constants are NVML's own

        def answer(*arguments: Any) -> Any:
            self.asked.append((name, arguments))
            if name == "nvmlInit":
                return None
            if name not in self._answers:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return self._answers[name]

        getattr(pynvml, name)  # there is such a function
        return answer


def process(pid: int, megabytes: float) -> Any:
    return SimpleNamespace(pid=pid, usedGpuMemory=int(megabytes * 1e6))


def sample(pid: int, load: int, at: int = 10) -> Any:
    return SimpleNamespace(pid=pid, smUtil=load, timeStamp=at)


def read(**answers: Any) -> GpuUsage:
    probe = GpuProbe(Replayed(**answers), "device", OWN)
    probe.start()
    return probe.stop()


def judged(*usages: GpuUsage) -> dict[str, Any]:
    blocks = [
        Round([0.01] * 600, Usage(1.0, 1.0, foreign_s=0.0, waited_s=0.0, probe_s=0.001, gpu=usage)) for usage in usages
    ]
    return verdict(Series(Task("x", print), blocks), [0], Limits(foreign=0.05, drift=0.1))


def test_everything_that_nvml_tells_is_read() -> None:
    clocks = {"nvmlDeviceGetClockInfo": 1980, "nvmlDeviceGetTemperature": 61, "nvmlDeviceGetPersistenceMode": 1}
    found = read(
        **clocks,
        nvmlDeviceGetEccMode=[1, 1],
        nvmlDeviceGetCurrentClocksThrottleReasons=pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
        | pynvml.nvmlClocksThrottleReasonSwPowerCap,
        nvmlDeviceGetComputeRunningProcesses=[process(OWN, 900), process(7, 1200)],
        nvmlDeviceGetProcessUtilization=[sample(OWN, 60), sample(7, 35)],
    )
    assert found == GpuUsage(1980, 1980, ["it was too hot"], 0.35, 1, 1200.0, 61, True, True)


def test_what_a_gpu_does_not_tell_is_unknown_and_judges_nothing() -> None:
    found = read()
    assert found == GpuUsage()
    assert judged(found, found)["verdict"] == "valid"


def test_in_a_container_one_of_the_processes_is_this_one() -> None:
    alone = read(nvmlDeviceGetComputeRunningProcesses=[process(99, 900)])
    assert (alone.foreign, alone.foreign_share) == (0, None)
    shared = read(
        nvmlDeviceGetComputeRunningProcesses=[process(99, 900), process(100, 50)],
        nvmlDeviceGetProcessUtilization=[sample(99, 90), sample(100, 90)],
    )
    assert (shared.foreign, shared.foreign_mb, shared.foreign_share) == (1, 50.0, None)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"foreign_share": 0.3, "foreign": 1}, "GPU shared with other processes (30% of its time)"),
        (
            {"foreign_share": None, "foreign": 2, "foreign_mb": 812.0},
            "GPU shared with 2 other processes whose load is not told (812 MB)",
        ),
        ({"slowdowns": ["it was too hot"]}, "throttling of the GPU (it was too hot)"),
        ({"sm_mhz": 1400}, "the GPU's clock moved between 1400 and 1980 MHz"),
    ],
)
def test_a_disturbed_gpu_makes_a_timing_invalid(change: dict[str, Any], why: str) -> None:
    found = judged(QUIET, dataclasses.replace(QUIET, **change))
    assert found["verdict"] == f"invalid: {why}"
    assert set(found["cells"].values()) == {found["verdict"]} | {c for c in found["cells"].values() if why in c}


def test_a_quiet_gpu_is_valid_and_its_state_stands_beside_the_verdict() -> None:
    found = judged(QUIET, dataclasses.replace(QUIET, sm_mhz=1950, celsius=64, foreign=1))
    assert found["verdict"] == "valid"  # another process is there, and does nothing
    assert found["gpu"]["sm_mhz"] == [1950, 1980]
    assert (found["gpu"]["celsius"], found["gpu"]["foreign"]) == (64, 1)
    assert judged(QUIET)["verdict"] == "valid"


def test_an_engine_on_the_cpu_has_no_gpu() -> None:
    block = Round([0.01] * 600, Usage(1.0, 1.0))
    assert verdict(Series(Task("x", print), [block]), [0], Limits(0.05, 0.1))["gpu"] is None


def test_only_what_came_after_the_start_counts() -> None:
    nvml = Replayed(nvmlDeviceGetProcessUtilization=[sample(7, 90, at=55), sample(OWN, 5, at=40)])
    probe = GpuProbe(nvml, "device", OWN)
    probe.start()
    probe.stop()
    assert [given[1] for name, given in nvml.asked if name == "nvmlDeviceGetProcessUtilization"] == [0, 55]


@pytest.mark.parametrize(
    ("visible", "asked"),
    [
        ({}, ("nvmlDeviceGetHandleByIndex", (0,))),
        ({"CUDA_VISIBLE_DEVICES": "GPU-5a"}, ("nvmlDeviceGetHandleByUUID", ("GPU-5a",))),
    ],
)
def test_the_gpu_that_cuda_uses_is_read(
    visible: dict[str, str], asked: tuple[str, tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = Replayed(nvmlDeviceGetHandleByIndex="device", nvmlDeviceGetHandleByUUID="device")
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert gpu_probe(visible) is not None
    assert nvml.asked[-1] == asked


def test_without_nvml_or_a_gpu_there_is_no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Replayed())
    assert gpu_probe({}) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_probe({}) is None


def test_it_survives_the_way_between_processes() -> None:
    probe = GpuProbe(Replayed(nvmlDeviceGetClockInfo=1980), "device", OWN)
    meter = UsageMeter([0], gpu=probe)
    meter.start()
    usage = meter.stop()
    assert usage.gpu is not None and usage.gpu.sm_mhz == 1980
    assert usage_from_json(json.loads(json.dumps(dataclasses.asdict(usage)))) == usage


def test_every_reason_is_one_of_nvmls() -> None:
    assert all(isinstance(getattr(pynvml, name), int) for name in SLOWDOWNS)
