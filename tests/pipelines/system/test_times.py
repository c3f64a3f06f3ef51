"""Moments and durations in words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from pipelines.system.times import age, distance, local, span


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("tokyo")
@pytest.mark.parametrize(
    "at",
    [
        "2026-01-01T10:00:00Z",
        "2026-01-01T11:00:00+01:00",
        "2026-01-01T10:00:00",  # no zone: files are in UTC
        datetime(2026, 1, 1, 10, tzinfo=timezone.utc),
        datetime(2026, 1, 1, 10, tzinfo=timezone.utc).timestamp(),
    ],
)
def test_every_form_of_a_moment_is_told_in_local_time_with_its_zone(at: datetime | float | str) -> None:
    assert local(at) == "2026-01-01 19:00:00 JST"


def test_what_is_no_moment_is_left_as_it_is() -> None:
    assert (local(None), local("soon"), age(None), age("soon")) == ("", "soon", "", "")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (42.4, "42 s"),
        (60, "1 min"),
        (95, "1 min 35 s"),
        (599.9, "10 min"),
        (12000, "3 h 20 min"),
        (7199, "2 h"),
        (86400 + 59 * 60, "1 d"),
        (3 * 86400 + 4.2 * 3600, "3 d 4 h"),
        (-5, "0 s"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_ages_and_distances() -> None:
    now = datetime.now(timezone.utc)
    assert age(now - timedelta(days=12, hours=3)) == "12 d"
    assert age(now - timedelta(minutes=65)) == "1 h"
    assert distance(now + timedelta(minutes=200, seconds=5)) == "in 3 h 20 min"
    assert distance(now - timedelta(minutes=30, seconds=5)) == "30 min ago"
