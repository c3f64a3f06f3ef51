"""Which shapes are tried and taken."""

from __future__ import annotations

import pytest

from stages.throughput.grid import WINDOWS, Point, Shape, fastest, fitting, pooled, shapes, window_size, within


def pairs(found: list[Shape]) -> list[tuple[int, int]]:
    return [(shape.streams, shape.threads) for shape in found]


def test_by_default_each_shape_fills_the_cpus() -> None:
    assert pairs(shapes(1)) == [(1, 1)]
    assert pairs(shapes(2)) == [(2, 1), (1, 2)]
    assert pairs(shapes(8)) == [(8, 1), (4, 2), (2, 4), (1, 8)]
    assert pairs(shapes(6)) == [(6, 1), (3, 2), (1, 4), (1, 6)]


def test_what_the_user_names_is_tried_as_far_as_it_fits() -> None:
    assert pairs(shapes(4, streams=[1, 2, 4])) == [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (1, 4)]
    assert pairs(shapes(4, threads=[2])) == [(2, 2)]
    assert pairs(shapes(4, streams=[3, 1], threads=[1, 2])) == [(1, 1), (3, 1), (1, 2)]
    assert shapes(2, streams=[3]) == []


def point(streams: int, threads: int, rate: float, ms: float) -> Point:
    return Point(Shape(streams, threads), rate, [ms / 1e3] * 100)


def test_the_fastest_of_all_and_of_those_within_the_budget() -> None:
    points = {p.shape: p for p in (point(4, 1, 40.0, 100.0), point(2, 2, 35.0, 57.0), point(1, 4, 30.0, 33.0))}
    assert fastest(points) == Shape(4, 1)
    assert within(points, 60.0) == [Shape(2, 2), Shape(1, 4)]
    assert within(points, 10.0) == []


def test_looks_are_pooled_by_the_median_of_their_rates_and_all_their_requests() -> None:
    looks = [point(2, 1, rate, 10.0) for rate in (30.0, 5.0, 31.0)]
    assert pooled(looks).rate == 30.0
    assert len(pooled(looks).latencies) == 300
    late = Point(Shape(2, 1), 30.0, [0.01] * 197 + [1.0] * 3)
    assert late.p50_ms == pytest.approx(10) and late.p99_ms == pytest.approx(1000, rel=0.1)


def test_a_window_is_whole_for_every_engine_and_no_longer_than_there_is_time() -> None:
    assert window_size([2, 2], 1000, 5, None, 10.0) == 1000 / (5 * WINDOWS)
    assert window_size([4, 6], 1000, 5, None, 10.0) % 12 == 0
    # A fifth of a request a second, and a minute: no turn of its windows is longer than it has to be.
    assert window_size([2, 1], 1000, 5, 60.0, 0.2) == 2


def test_what_has_no_room_in_memory_is_left_out() -> None:
    found = shapes(8)
    assert fitting(found, 100, None) == (found, [])
    assert fitting(found, 100, 1000) == (found, [])
    kept, large = fitting(found, 100, 501)
    assert pairs(large) == [(8, 1)] and kept + large != found and len(kept) == 3
