"""The timing loop against tasks of known length, on a clock that only they move."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator

import numpy as np
import pytest

from stages.latency.timing import Plan, Round, Series, Task, choose_cpus, measure, settled, speedup, summary
from stages.numerics.student_t import student


@pytest.fixture(autouse=True)
def _light_heap() -> Iterator[None]:
    """Set the objects of the other tests aside: each round collects garbage, and would walk through all of them."""
    gc.freeze()
    yield
    gc.unfreeze()


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

    return Task(name, run, clock)


def test_statistics_are_those_of_the_known_delays() -> None:
    clock, log = VirtualClock(), list[str]()
    delays = [float(d) for d in range(1, 101)]
    (series,) = measure([task("stub", clock, log, *delays)], Plan(warmup=4, runs=100, rounds=1))
    found = summary(series.all())
    assert found["count"] == 100 and len(log) == 104
    assert found["mean_ms"] == pytest.approx(50.5)
    assert found["median_ms"] == found["p50_ms"] == pytest.approx(50.5)
    assert found["p90_ms"] == pytest.approx(90.1) and found["p95_ms"] == pytest.approx(95.05)
    assert found["p99_ms"] == pytest.approx(99.01)
    assert found["std_ms"] == pytest.approx(np.std(delays, ddof=1))
    assert found["cv"] == pytest.approx(np.std(delays, ddof=1) / 50.5)
    assert (found["min_ms"], found["max_ms"]) == (pytest.approx(1), pytest.approx(100))


@pytest.mark.timing
def test_what_a_stub_took_on_the_real_clock_is_what_is_measured() -> None:
    """Mean and percentiles within 2 %. The stub notes its own times: a busy machine may stretch single runs."""
    delays = np.tile(np.linspace(0.002, 0.006, 20), 5)
    took: list[float] = []

    def run(i: int) -> None:
        start = time.perf_counter()
        while time.perf_counter() < start + delays[i]:
            pass
        took.append(time.perf_counter() - start)

    (series,) = measure([Task("stub", run)], Plan(warmup=0, runs=100, rounds=2))
    found, expected = summary(series.all()), summary(np.array(took))
    for name in ("mean_ms", "median_ms", "p90_ms", "p95_ms", "p99_ms"):
        assert found[name] == pytest.approx(expected[name], rel=0.02)
    assert found["min_ms"] == pytest.approx(2, rel=0.02)


def test_tasks_take_turns_and_the_order_turns_round() -> None:
    clock, log = VirtualClock(), list[str]()
    a, b = task("a", clock, log, 4.0), task("b", clock, log, 2.0)
    first, second = measure([a, b], Plan(warmup=0, runs=10, rounds=3))
    assert "".join(log) == "aaaa" + "bbbb" + "bbb" + "aaa" + "aaa" + "bbb"
    assert [len(part) for part in first.samples] == [4, 3, 3]
    found = speedup(first, second)
    assert found["median"] == pytest.approx(2.0) and found["rounds"] == [pytest.approx(2.0)] * 3
    assert found["low"] == pytest.approx(2.0) and found["high"] == pytest.approx(2.0)


def test_drift_cancels_in_the_speedup() -> None:
    clock = VirtualClock()

    def drifting(factor: float) -> Task:
        return Task("x", lambda i: clock.wait(factor * (10 + clock.now * 1e-9)), clock)

    found = speedup(*measure([drifting(3.0), drifting(1.0)], Plan(warmup=0, runs=400, rounds=4)))
    assert found["median"] == pytest.approx(3.0, rel=0.05)
    assert found["low"] < 3.0 < found["high"]


def noisy(seed: int, slower: float = 1.0) -> dict[str, float]:
    """The speed-up of an engine of 10 ms against 30 ms, with noise per run and per round, and its interval."""
    clock, rng = VirtualClock(), np.random.default_rng(seed)

    def engine(ms: float) -> Task:
        return Task("x", lambda i: clock.wait(ms * (1 + rng.normal(0, 0.04) + 0.01 * np.sin(clock.now * 1e-9))), clock)

    return speedup(*measure([engine(30.0), engine(10.0 * slower)], Plan(warmup=10, runs=300, rounds=10)))


def test_two_runs_agree_and_a_slowdown_of_five_percent_is_found() -> None:
    apart = 0
    for seed in range(10):
        one, again, planted = noisy(seed), noisy(seed + 100), noisy(seed + 200, slower=1.05)
        apart += one["low"] > again["high"] or again["low"] > one["high"]
        assert planted["high"] < one["low"], "the intervals of 3.00 and 2.86 must lie apart"
    assert apart <= 1  # each interval misses 3.00 once in twenty runs


def test_one_round_has_no_interval() -> None:
    clock = VirtualClock()
    found = speedup(*measure([task("a", clock, [], 4.0), task("b", clock, [], 2.0)], Plan(0, 10, 1)))
    assert (found["median"], found["low"], found["high"]) == (pytest.approx(2), None, None)


def test_student() -> None:
    assert student(1) == pytest.approx(12.706)
    assert student(10) == pytest.approx(2.228)
    assert student(11) == pytest.approx(2.201, abs=1e-3) and student(30) == pytest.approx(2.042, abs=1e-3)


def test_a_time_budget_ends_the_runs_but_not_below_ten() -> None:
    clock, log = VirtualClock(), list[str]()
    fast, slow = measure(
        [task("f", clock, log, 10.0), task("s", clock, log, 5000.0)],
        Plan(warmup=100, runs=1000, rounds=2, max_seconds=1.0),
    )
    assert fast.all().size == 100
    assert slow.all().size == 10
    assert log.count("s") == 12  # the warm-up too: one run overshoots its share of the budget, in each round


def test_warming_up_goes_on_until_the_times_have_settled() -> None:
    clock = VirtualClock()
    falling = [20.0 - i for i in range(15)] + [5.0] * 100
    warmth = Task("x", lambda i: clock.wait(falling[i]), clock).warm(20, 0, 1e9)
    assert warmth.stable and 25 <= warmth.runs <= 36
    never = Task("x", lambda i: clock.wait(1.0 + i), clock).warm(20, 0, 1e9)
    assert never.runs == 40 and never.stable is False
    timed = Task("x", lambda i: clock.wait(10.0), clock).warm(6, 1.0, 1e9)
    assert timed.seconds >= 1 and timed.runs == 100
    assert Task("x", lambda i: clock.wait(10.0), clock).warm(0, 5.0, 1e9).runs == 0
    assert settled([1.0] * 19) is None


def test_progress_is_told_between_runs_and_ends_at_the_total() -> None:
    clock, log, told = VirtualClock(), list[str](), list[tuple[int, int]]()
    measure(
        [task("a", clock, log, 400.0), task("b", clock, log, 400.0)],
        Plan(warmup=0, runs=10, rounds=2),
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
def test_the_last_cpus_are_chosen_and_no_more_than_there_are() -> None:
    usable = sorted(os.sched_getaffinity(0))
    assert choose_cpus(1) == usable[-1:]
    with pytest.raises(ValueError, match=f"may use {len(usable)} CPUs"):
        choose_cpus(len(usable) + 1)


def test_a_series_keeps_its_rounds() -> None:
    series = Series(Task("x", print), [Round([1.0, 2.0]), Round([3.0])])
    assert series.samples == [[1.0, 2.0], [3.0]] and series.all().tolist() == [1, 2, 3]
