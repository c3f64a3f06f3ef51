"""Waiting for a quieter machine, on a load that is planted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stages.latency.quiet import share_in_use, wait_until_quiet


def planted(*shares: float | None) -> tuple[Callable[[], float | None], Callable[[], float], list[float]]:
    """A reading of the load that takes a second each time, and the clock that it moves."""
    now, left = [0.0], list(shares)

    def read() -> float | None:
        now[0] += 1
        return left.pop(0)

    return read, lambda: now[0], now


def test_it_waits_until_others_take_no_more_than_the_limit() -> None:
    read, clock, now = planted(0.77, 0.5, 0.05, 0.9)
    assert wait_until_quiet(0.05, 60, read, clock) == 0.05 and now == [3]


def test_it_gives_up_after_its_patience_and_does_not_look_without_any() -> None:
    read, clock, now = planted(*[0.77] * 9)
    assert wait_until_quiet(0.05, 5, read, clock) == 0.77 and now == [5]
    assert wait_until_quiet(0.05, 0, read, clock) is None and now == [5]


def test_where_the_load_is_not_told_nobody_waits() -> None:
    read, clock, now = planted(None)
    assert wait_until_quiet(0.05, 60, read, clock) is None and now == [1]


def test_the_share_of_this_machine_is_one() -> None:
    found = share_in_use()
    assert found is None or found == pytest.approx(0.5, abs=0.7)
