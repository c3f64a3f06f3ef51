"""The peak is the fastest kernel's, and every kernel runs on this machine."""

from __future__ import annotations

from typing import Any

import pytest

from stages.profiling.peak import FORMATS, Peak, open_peak
from tests.stages.latency.test_timing import VirtualClock

CLOCK = VirtualClock()


class Fake:
    """A kernel of a million multiply-adds that takes a known time."""

    multiply_adds = 1_000_000

    def __init__(self, name: str, ms: float) -> None:
        self.name, self.ms, self.runs = name, ms, 0

    def run(self) -> None:
        self.runs += 1
        CLOCK.wait(self.ms)


def test_the_fastest_kernel_counts_and_is_the_only_one_from_then_on() -> None:
    slow, fast = Fake("slow", 4.0), Fake("fast", 2.0)
    kernels: dict[str, list[Any]] = {"fp32": [slow, fast], "int8": [Fake("int", 0.5)]}
    peak = Peak(kernels, CLOCK)
    assert peak.measure() == {"fp32": pytest.approx(5e8), "int8": pytest.approx(2e9)}
    assert peak.names == {"fp32": "fast", "int8": "int"}
    before, fast.ms = slow.runs, 8.0  # the clock falls: the same kernel shows it
    assert peak.measure()["fp32"] == pytest.approx(1.25e8) and slow.runs == before


def test_every_kernel_runs_here() -> None:
    peak = open_peak(1)
    assert set(peak.measure()) == set(FORMATS)
    assert all(rate > 1e8 for rate in peak.measure().values())
