"""Verdicts on timings, from evidence made by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from stages.latency import machine
from stages.latency.machine import Usage, UsageMeter
from stages.latency.timing import Round, Series, Task
from stages.latency.validity import Limits, verdict

LIMITS = Limits(foreign=0.05, drift=0.1)


def verdicts(*blocks: Round) -> dict[str, Any]:
    return verdict(Series(Task("x", print), list(blocks)), [0], LIMITS)


def usage(**given: Any) -> Usage:
    return Usage(**{"wall_s": 1.0, "cpu_s": 1.0, "foreign_s": 0.01, "waited_s": 0.0, "probe_s": 0.001, **given})


def test_a_quiet_machine_is_valid_in_every_cell() -> None:
    found = verdicts(Round([0.01] * 600, usage()), Round([0.0101] * 600, usage()))
    assert found["verdict"] == "valid" and set(found["cells"].values()) == {"valid"}
    assert found["foreign_share"] == pytest.approx(0.01) and found["drift"] == pytest.approx(0.01)


def test_percentiles_need_samples_beyond_them() -> None:
    found = verdicts(Round([0.01] * 250, usage()))
    assert found["verdict"] == found["cells"]["p90_ms"] == found["cells"]["p95_ms"] == "valid"
    assert found["cells"]["p99_ms"] == "invalid: too few samples (250, p99 needs 1000)"
    assert verdicts(Round([0.01] * 9, usage()))["verdict"].startswith("invalid: too few samples (9,")


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ({"foreign_s": 0.19}, "CPU shared with the load of other processes (10% of its time)"),
        ({"waited_s": 0.5}, "CPU shared with the load of other processes (25% of its time)"),
        ({"probe_s": 0.00125}, "throttling (the CPU slowed down by 20% at times)"),
    ],
)
def test_what_the_machine_did_shows(second: dict[str, float], why: str) -> None:
    found = verdicts(Round([0.01] * 50, usage()), Round([0.01] * 50, usage(**second)))
    assert found["verdict"] == f"invalid: {why}"
    assert found["cells"]["p90_ms"] == f"invalid: {why}"


def test_rounds_that_differ_are_drift() -> None:
    found = verdicts(Round([0.01] * 50, usage()), Round([0.0115] * 50, usage()))
    assert found["verdict"] == "invalid: drift between rounds (15%)"


def test_what_the_machine_does_not_tell_is_unknown_not_wrong() -> None:
    found = verdicts(Round([0.01] * 50), Round([0.01] * 50))
    assert found["verdict"] == "valid"
    assert [found[k] for k in ("foreign_share", "waited_share", "clock_drop", "energy_mj")] == [None] * 4
    short = verdicts(Round([0.001] * 50, usage(wall_s=0.05, foreign_s=0.01)))  # a tick of /proc/stat is 0.01 s
    assert short["foreign_share"] is None and short["verdict"] == "valid"


def test_energy_is_per_run() -> None:
    found = verdicts(*[Round([0.01] * 50, usage(energy_j=2.0))] * 2)
    assert found["energy_mj"] == pytest.approx(40)
    assert verdicts(Round([0.01] * 50, usage(energy_j=2.0)), Round([0.01] * 50, usage()))["energy_mj"] is None


def test_the_gpus_energy_is_told_apart() -> None:
    found = verdicts(*[Round([0.01] * 50, usage(gpu_energy_j=1.0, energy_j=2.0))] * 2)
    assert (found["gpu_energy_mj"], found["energy_mj"]) == (pytest.approx(20), pytest.approx(40))
    assert verdicts(Round([0.01] * 50, usage()))["gpu_energy_mj"] is None


class Nvml:
    """A stand-in for ``pynvml`` with one device, whose counter goes up by two joules at each reading."""

    class NVMLError(Exception):
        pass

    def __init__(self, counts: bool = True) -> None:
        self.counts, self.asked, self.millijoules = counts, list[object](), 0

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        self.asked.append(index)
        return "device"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        self.asked.append(uuid)
        return "device"

    def nvmlDeviceGetTotalEnergyConsumption(self, device: str) -> int:
        if not self.counts:
            raise self.NVMLError("Not Supported")
        self.millijoules += 2000
        return self.millijoules


@pytest.mark.parametrize(("visible", "asked"), [(None, 0), ("", 0), ("3,1", 3), ("GPU-5a,GPU-6b", "GPU-5a")])
def test_the_meter_reads_the_gpu_that_cuda_uses(
    visible: str | None, asked: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    meter = machine.gpu_meter({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert meter is not None and nvml.asked == [asked]
    watch = UsageMeter([0], meter=meter)
    watch.start()
    assert watch.stop().gpu_energy_j == pytest.approx(2)


def test_a_gpu_that_does_not_count_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(counts=False))
    assert machine.gpu_meter({}) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    assert machine.gpu_meter({}) is None


def test_the_machine_is_read_from_its_files(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu 9 9 9 9 9 9 9 9\ncpu0 100 20 30 999 5 1 2 7 0 0\ncpu1 100 0 0 0 0 0 0 0 0 0\n")
    ticks = machine.os.sysconf("SC_CLK_TCK")
    assert machine.busy_seconds([0], tmp_path) == pytest.approx(160 / ticks)
    assert machine.busy_seconds([0, 1], tmp_path) == pytest.approx(260 / ticks)
    assert machine.busy_seconds([7], tmp_path) is None and machine.busy_seconds([], tmp_path) is None
    assert machine.busy_seconds([0], tmp_path / "none") is None
    topology = tmp_path / "devices/system/cpu/cpu3/topology"
    topology.mkdir(parents=True)
    (topology / "thread_siblings_list").write_text("1,3-4\n")
    assert machine.siblings(3, tmp_path) == [1, 3, 4]
    assert machine.siblings(5, tmp_path) == [5]
    assert machine.energy_joules(tmp_path) is None
    for zone, value in (("intel-rapl:0", 5_000_000), ("intel-rapl:0:0", 1_000_000), ("intel-rapl:1", 2_000_000)):
        (tmp_path / "class/powercap" / zone).mkdir(parents=True)
        (tmp_path / "class/powercap" / zone / "energy_uj").write_text(str(value))
    assert machine.energy_joules(tmp_path) == pytest.approx(7)
    assert machine.memory_mb(tmp_path / "none") == {"now": None, "peak": None}


def test_a_watch_measures_this_process() -> None:
    watch = UsageMeter([0])
    with pytest.raises(ValueError, match="not started"):
        watch.stop()
    watch.start()
    x = 0
    for i in range(300_000):
        x += i
    used = watch.stop()
    assert 0 < used.cpu_s <= used.wall_s * 1.2 + 0.02
    assert used.probe_s is not None and used.probe_s > 0
