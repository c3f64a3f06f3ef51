"""The timing loop against tasks of known length, on a clock that only they move."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest

from stages.timing import Plan, Task, measure, pinned, speedup, summary


class VirtualClock:
    """Nanoseconds that pass only when a task says so."""

    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        return self.now

    def wait(self, ms: float) -> None:
        self.now += round(ms * 1e6)


def task(name: str, clock: VirtualClock, log: list[str], *delays_ms: float) -> Task:
    """A task whose i-th run takes the i-th delay, again and again."""

    def run(i: int) -> None:
        log.append(name)
        clock.wait(delays_ms[i % len(delays_ms)])

    return Task(name, run)


def test_statistics_are_those_of_the_known_delays() -> None:
    clock, log = VirtualClock(), list[str]()
    delays = [float(d) for d in range(1, 101)]
    stub = task("stub", clock, log, *delays)
    measure([stub], Plan(warmup=7, runs=100, rounds=1), clock)
    found = summary(stub.all())
    assert found["count"] == 100 and len(log) == 107
    assert found["mean_ms"] == pytest.approx(50.5)
    assert found["median_ms"] == found["p50_ms"] == pytest.approx(50.5)
    assert found["p90_ms"] == pytest.approx(90.1) and found["p95_ms"] == pytest.approx(95.05)
    assert found["p99_ms"] == pytest.approx(99.01)
    assert found["std_ms"] == pytest.approx(np.std(delays, ddof=1))
    assert found["cv"] == pytest.approx(np.std(delays, ddof=1) / 50.5)
    assert (found["min_ms"], found["max_ms"]) == (pytest.approx(1), pytest.approx(100))


def test_tasks_take_turns_and_the_order_turns_round() -> None:
    clock, log = VirtualClock(), list[str]()
    a, b = task("a", clock, log, 4.0), task("b", clock, log, 2.0)
    measure([a, b], Plan(warmup=0, runs=10, rounds=3), clock)
    assert "".join(log) == "aaaa" + "bbbb" + "bbb" + "aaa" + "aaa" + "bbb"
    assert [len(part) for part in a.samples] == [4, 3, 3]
    assert speedup(a, b) == {"median": pytest.approx(2.0), "rounds": [pytest.approx(2.0)] * 3}


def test_drift_cancels_in_the_speedup() -> None:
    clock = VirtualClock()

    def drifting(factor: float) -> Task:
        return Task("x", lambda i: clock.wait(factor * (10 + clock.now * 1e-9)))

    base, other = drifting(3.0), drifting(1.0)
    measure([base, other], Plan(warmup=0, runs=400, rounds=4), clock)
    assert speedup(base, other)["median"] == pytest.approx(3.0, rel=0.05)


def test_a_time_budget_ends_the_runs_but_not_below_ten() -> None:
    clock, log = VirtualClock(), list[str]()
    fast, slow = task("f", clock, log, 10.0), task("s", clock, log, 5000.0)
    measure([fast, slow], Plan(warmup=100, runs=1000, rounds=2, max_seconds=1.0), clock)
    assert fast.all().size == 100
    assert slow.all().size == 10
    assert log.count("s") == 12  # the warm-up too: one run overshoots its share of the budget, in each round


def test_progress_is_told_between_runs_and_ends_at_the_total() -> None:
    clock, log, told = VirtualClock(), list[str](), list[tuple[int, int]]()
    measure(
        [task("a", clock, log, 400.0), task("b", clock, log, 400.0)],
        Plan(warmup=0, runs=10, rounds=2),
        clock,
        lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (20, 20) and all(total == 20 for _, total in told)
    assert [d for d, _ in told] == sorted(d for d, _ in told)
    assert len(told) >= 8


def test_garbage_collection_is_off_while_timing_and_on_again_after() -> None:
    states: list[bool] = []

    def run(i: int) -> None:
        states.append(gc.isenabled())
        if i == 3:
            raise RuntimeError("engine broke")

    with pytest.raises(RuntimeError):
        measure([Task("x", run)], Plan(warmup=0, runs=5, rounds=1))
    assert states == [False] * 4 and gc.isenabled()


def test_runs_that_do_not_fill_the_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="2 runs cannot be split into 3 rounds"):
        measure([], Plan(warmup=0, runs=2, rounds=3))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this operating system cannot pin")
def test_pinned_takes_that_many_cpus_and_gives_them_back() -> None:
    before = os.sched_getaffinity(0)
    with pinned(1) as cpus:
        assert os.sched_getaffinity(0) == set(cpus) and len(cpus) == 1
    assert os.sched_getaffinity(0) == before
    with pytest.raises(ValueError, match=f"may use {len(before)} CPUs"), pinned(len(before) + 1):
        pass
