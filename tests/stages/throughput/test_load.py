"""Load on callables that sleep: what runs at once adds up, and who waits in the queue has waited."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest

from stages.throughput.load import Load, run
from stages.throughput.loaded_engine import LoadTask, arrivals

SERVICE = 0.03
"""Seconds; a busy machine adds to it for all alike."""


def sleeper() -> None:
    time.sleep(SERVICE)


def done(count: int) -> Callable[[int, float], bool]:
    return lambda n, spent: n >= count


def rate(load: Load) -> float:
    return len(load.ends) / load.ends[-1]


@pytest.mark.timing
def test_k_streams_of_what_only_sleeps_do_k_times_as_much() -> None:
    one, four = run([sleeper], done(16)), run([sleeper] * 4, done(64))
    assert len(one.ends) >= 16 and len(four.ends) >= 64
    assert 3 < rate(four) / rate(one) < 5
    assert sorted(four.ends) == four.ends and min(four.latencies) >= SERVICE * 0.99


@pytest.mark.timing
def test_what_arrives_faster_than_it_is_done_waits_and_what_arrives_slowly_does_not() -> None:
    slow = run([sleeper] * 2, done(10), arrivals=[0.2 * i for i in range(10)])
    fast = run([sleeper] * 2, done(40), arrivals=[0.001 * i for i in range(40)])
    assert len(slow.latencies) == 10 and len(fast.latencies) == 40
    assert max(fast.latencies) > 10 * SERVICE > 2 * sorted(slow.latencies)[5]
    assert slow.ends[-1] > 1.8  # the last one was not done before it was there


def test_arrivals_that_are_all_done_end_the_load_whatever_is_enough() -> None:
    found = run([sleeper] * 3, done(1000), arrivals=[0.0, 0.0, 0.001])
    assert len(found.ends) == 3


def test_what_an_engine_raises_ends_the_load_and_is_raised() -> None:
    fails = threading.Event()

    def call() -> None:
        if fails.is_set():
            raise ValueError("no more")
        fails.set()

    with pytest.raises(ValueError, match="no more"):
        run([call, sleeper], done(10**9))


def test_windows_hold_so_many_requests_each_and_leave_out_the_rest() -> None:
    load = Load([1.0, 1.5, 3.0, 3.5, 4.0, 4.25, 5.0], [0.5] * 7)
    assert load.windows(2) == [1.5, 2.0, 0.75]
    assert load.windows(7) == [5.0]
    assert load.windows(8) == []


def test_a_turn_has_so_many_windows_and_a_budget_ends_it_after_the_least() -> None:
    task = LoadTask([lambda: time.sleep(0.001)] * 2, 4, None, None)
    assert task.warm(5, 0.0, 60.0).runs >= 5
    turn = task.take(6, 2, 60.0, 0, lambda done: None)
    assert len(turn.samples) == 6 and len(turn.latencies) >= 24
    cut = task.take(10**6, 3, 0.0, 0, lambda done: None)
    assert 3 <= len(cut.samples) < 100


def test_arrivals_are_a_poisson_process_of_that_rate_and_the_same_for_all() -> None:
    found = arrivals(20_000, 50.0)
    assert found == arrivals(20_000, 50.0) != arrivals(20_000, 50.0, first=1)
    gaps = [later - before for before, later in itertools.pairwise(found)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(1 / 50, rel=0.05)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.1)  # exponential gaps
    twice = arrivals(20_000, 100.0)
    assert twice == pytest.approx([second / 2 for second in found])
