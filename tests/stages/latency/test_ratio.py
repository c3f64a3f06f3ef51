"""The verdict on a ratio: planted loads and clocks, on a machine whose time only its tasks move."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stages.latency import limits
from stages.latency.gpu import GpuUsage
from stages.latency.machine import Usage
from stages.latency.ratio import judged
from stages.latency.timing import Plan, Round, Series, Task, measure
from stages.latency.validity import Limits, is_disturbed, verdict
from tests.stages.latency.test_timing import VirtualClock, _light_heap  # noqa: F401  (a fixture that runs by itself)

LIMITS = Limits(foreign=0.05, drift=0.1)
Load = Callable[[str, float], float]
"""(engine, seconds since the start) -> the share of the CPU that other processes take."""
Speed = Callable[[float], float]
"""Seconds since the start -> how many times longer the CPU takes than at its full clock."""


class Machine:
    """One CPU that engines share with other processes, and whose clock may change."""

    def __init__(self, seed: int, load: Load, slow: Speed) -> None:
        self.clock, self.rng = VirtualClock(), np.random.default_rng(seed)
        self.load, self.slow, self.cpu_s = load, slow, 0.0

    def task(self, name: str, ms: float) -> Task:
        """An engine that needs so much processor time a run at the full clock, with a noise of 1 %."""

        def run(i: int) -> None:
            at = self.clock() * 1e-9
            need = ms * self.slow(at) * (1 + self.rng.normal(0, 0.01))
            self.clock.wait(need / (1 - self.load(name, at)))
            self.cpu_s += need * 1e-3

        return Task(name, run, self.clock, Watch(self))  # type: ignore[arg-type]


class Watch:
    """Reads what `UsageMeter` reads, of a `Machine`."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.before = machine, (0, 0.0)

    def start(self) -> None:
        self.before = (self.machine.clock(), self.machine.cpu_s)

    def stop(self) -> Usage:
        wall = (self.machine.clock() - self.before[0]) * 1e-9
        cpu = self.machine.cpu_s - self.before[1]
        return Usage(wall, cpu, wall - cpu, wall - cpu, probe_s=1e-3 * self.machine.slow(self.machine.clock() * 1e-9))


def quiet(name: str, at: float) -> float:
    return 0.0


def full_clock(at: float) -> float:
    return 1.0


def timed(
    seed: int = 0,
    load: Load = quiet,
    slow: Speed = full_clock,
    base: float = 10.0,
    other: float = 10.0,
    rounds: int = 6,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The ratio of two engines and the verdicts on their times."""
    machine = Machine(seed, load, slow)
    one, two = measure([machine.task("base", base), machine.task("other", other)], Plan(0, 50 * rounds, rounds))
    return judged(one, two, [0], LIMITS), [verdict(each, [0], LIMITS) for each in (one, two)]


def test_a_slowdown_of_five_percent_is_found_on_a_quiet_machine_and_under_a_load_on_both() -> None:
    def half(name: str, at: float) -> float:
        return 0.5

    for load in (quiet, half):
        for seed in range(5):
            found, _ = timed(seed, load, other=10.5)
            assert found["verdict"] == "valid" and found["high"] < 1
            assert found["median"] == pytest.approx(1 / 1.05, rel=0.01)


def test_a_load_that_hits_both_is_no_slowdown_although_neither_time_is_valid() -> None:
    def shared(name: str, at: float) -> float:
        return 0.4 + 0.2 * math.sin(at / 7)

    for seed in range(5):
        found, times = timed(seed, shared)
        assert all(each["verdict"].startswith("invalid: CPU shared") for each in times)
        assert found["verdict"] == "valid" and found["low"] <= 1 <= found["high"]
        assert found["taken"] > 0.2 and found["by_cpu"] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("hit", ["base", "other"])
def test_a_load_that_hits_the_turns_of_one_engine_is_recognised(hit: str) -> None:
    found, _ = timed(load=lambda name, at: 0.3 if name == hit else 0.0)
    assert found["verdict"].startswith("invalid: other processes held up one engine more than the other")
    assert "by the clock, 1.00 by processor time)" in found["verdict"] and is_disturbed(found["verdict"])


def test_what_a_small_one_sided_load_may_have_done_is_within_the_interval() -> None:
    for hit in ("base", "other"):
        found, times = timed(load=lambda name, at, hit=hit: 0.04 if name == hit else 0.0)  # type: ignore[misc]
        assert found["verdict"] == "valid" and {each["verdict"] for each in times} == {"valid"}
        assert found["low"] <= 1.005 and found["high"] >= 0.995 and abs(found["median"] - 1) > 0.03


def test_a_load_on_one_engine_in_a_single_round_widens_the_interval_or_is_recognised() -> None:
    still, _ = timed()
    found, _ = timed(load=lambda name, at: 0.5 if name == "other" and 2 < at < 3 else 0.0)
    assert found["verdict"] != "valid" or found["high"] / found["low"] > 2 * still["high"] / still["low"]


def test_a_clock_that_drifts_or_falls_in_both_turns_leaves_the_ratio() -> None:
    for slow in (lambda at: 1 + at / 20, lambda at: 1.0 if at < 2 else 1.4):
        found, times = timed(slow=slow, other=5.0, rounds=20)  # the step falls into one of them
        assert all("drift between rounds" in each["verdict"] for each in times)
        assert found["verdict"] == "valid" and found["low"] < 2 < found["high"]
        assert found["median"] == pytest.approx(2, rel=0.05)


def test_a_clock_that_is_lower_in_the_turns_of_one_engine_is_recognised() -> None:
    usage = Usage(1.0, 1.0, 0.0, 0.0, probe_s=1e-3)
    base = Series(Task("x", print), [Round([0.01] * 50, usage)] * 3)
    slower = Series(Task("x", print), [Round([0.012] * 50, replace(usage, probe_s=1.25e-3))] * 3)
    assert judged(base, slower, [0], LIMITS)["verdict"] == (
        "invalid: the CPU's clock was 20% lower in the turns of one engine"
    )
    assert judged(base, base, [0], LIMITS)["verdict"] == "valid"


def test_too_little_is_said_and_is_no_disturbance() -> None:
    short = Series(Task("x", print), [Round([0.01] * 5)])
    found = judged(short, short, [0], LIMITS)["verdict"]
    assert found == (
        "invalid: too few samples (5, the median needs 10); too few rounds (1, an interval needs 2)"
    ) and not is_disturbed(found)
    assert is_disturbed("invalid: too few rounds (1, an interval needs 2); drift between rounds (20%)")
    assert not is_disturbed("valid")


def test_without_processor_times_a_load_cannot_be_shown_to_hit_both() -> None:
    usage = Usage(1.0, 0.0, 0.0, 0.5)
    series = Series(Task("x", print), [Round([0.01] * 50, usage)] * 3)
    assert "nothing shows that both lost alike" in judged(series, series, [0], LIMITS)["verdict"]


def test_on_a_gpu_other_processes_there_are_looked_at_and_processor_times_are_not() -> None:
    def on_gpu(share: float) -> Series:
        usage = Usage(1.0, 0.2, 0.0, 0.0, gpu=GpuUsage(foreign=1, foreign_share=share))
        return Series(Task("x", print), [Round([0.01] * 50, usage)] * 3)

    found = judged(on_gpu(0.0), on_gpu(0.0), [0], LIMITS)
    assert found["verdict"] == "valid" and found["by_cpu"] is None
    assert (
        "GPU shared with other processes (50% of its time)" in judged(on_gpu(0.0), on_gpu(0.5), [0], LIMITS)["verdict"]
    )


def added(undecided: Callable[[dict[str, Any]], bool], most: int = 20) -> dict[str, Any]:
    """The ratio of two equal engines after three rounds, and as many more as are asked for."""
    machine, told = Machine(0, quiet, full_clock), list[tuple[int, int]]()

    def asks(made: list[Series]) -> bool:
        return undecided(judged(made[0], made[1], [0], LIMITS))

    tasks = [machine.task(name, 10.0) for name in ("base", "other")]
    one, two = measure(tasks, Plan(0, 30, 3, max_rounds=most), lambda *at: told.append(at), asks)
    assert told[-1][0] == told[-1][1] == one.all().size + two.all().size
    return judged(one, two, [0], LIMITS)


def test_rounds_are_added_while_a_limit_lies_in_the_interval_and_no_longer() -> None:
    def straddles(limit: float) -> Callable[[dict[str, Any]], bool]:
        def look(ratio: dict[str, Any]) -> bool:
            found = limits.intervals({"over_fp32.int8.runtime": ratio})
            return bool(limits.undecided(found, {"over_fp32.runtime": limit}, ["int8"]))

        return look

    first, all_of_them = added(lambda ratio: False), added(lambda ratio: True)
    assert (len(first["rounds"]), len(all_of_them["rounds"])) == (3, 20)
    assert all_of_them["high"] / all_of_them["low"] < first["high"] / first["low"]
    assert len(added(lambda ratio: True, most=3)["rounds"]) == len(added(straddles(0.9))["rounds"]) == 3
    decided = added(straddles(first["low"] + 1e-4))  # it lies far from 1, and within the first interval just so
    assert 3 < len(decided["rounds"]) < 20 and decided["low"] > first["low"] + 1e-4


def test_which_ratios_a_limit_concerns() -> None:
    found = {"over_fp32.int8.runtime": [1.4, 1.6], "over_fp32.bf16.runtime": [1.4, 1.6],
             "against.champion.end2end": [0.8, 1.1], "against.champion.runtime": [0.95, 1.1]}  # fmt: skip
    wanted = {"over_fp32.runtime": 1.5, "against.champion.runtime": 0.9, "against.champion.end2end": 0.9}
    assert limits.undecided(found, wanted, ["int8"]) == ["over_fp32.int8.runtime", "against.champion.end2end"]
    assert limits.undecided(found, {"over_fp32.end2end": 1.5}, ["int8"]) == []
