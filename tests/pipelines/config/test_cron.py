"""A crontab line means what cron makes of it, in its time zone."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from pipelines.config.cron import cron_trigger, trigger_of, zone
from pipelines.config.options.schedule import ScheduleOptions

UTC = timezone.utc
BERLIN = ZoneInfo("Europe/Berlin")


def ticks(text: str, start: datetime, count: int) -> list[datetime]:
    made = cron_trigger(text, start.tzinfo or UTC)
    found: list[datetime] = []
    now = start
    while len(found) < count:
        found.append(made.get_next_fire_time(found[-1] if found else None, now))
        now = found[-1] + timedelta(microseconds=1)
    return found


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("0", ["Sun"]),
        ("7", ["Sun"]),
        ("7-7", ["Sun"]),
        ("1-5", ["Mon", "Tue", "Wed", "Thu", "Fri"]),
        ("5-7", ["Sun", "Fri", "Sat"]),
        ("0-4", ["Sun", "Mon", "Tue", "Wed", "Thu"]),
        ("sat", ["Sat"]),
        ("mon,wed", ["Mon", "Wed"]),
        ("*/2", ["Sun", "Tue", "Thu", "Sat"]),
        ("1/2", ["Mon", "Wed", "Fri"]),
        ("@weekly", ["Sun"]),
    ],
)
def test_weekdays_are_counted_as_cron_does(days: str, expected: list[str]) -> None:
    text = days if days.startswith("@") else f"0 0 * * {days}"
    found = ticks(text, datetime(2026, 11, 22, tzinfo=UTC), len(expected))  # a Sunday
    assert [moment.strftime("%a") for moment in found] == expected


def test_two_restricted_days_are_alternatives() -> None:
    found = ticks("0 0 13 * 5", datetime(2026, 11, 1, tzinfo=UTC), 6)
    assert [moment.day for moment in found] == [6, 13, 20, 27, 4, 11]
    assert ticks("0 0 24 * 5", datetime(2026, 11, 21, tzinfo=UTC), 2)[0].day == 24


def test_the_night_of_the_clock_change() -> None:
    spring = ticks("30 2 * * *", datetime(2026, 3, 28, 12, tzinfo=BERLIN), 2)  # 02:30 is skipped: an hour later
    assert [moment.astimezone(UTC).strftime("%d %H:%M") for moment in spring] == ["29 01:30", "30 00:30"]
    autumn = ticks("30 3 * * *", datetime(2026, 10, 23, 12, tzinfo=BERLIN), 2)
    assert autumn[1].astimezone(UTC) - autumn[0].astimezone(UTC) == timedelta(hours=25)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 3 * *", "it has 4 fields; cron wants 5"),
        ("0 3 * * 9", "9 is no day of the week"),
        ("0 3 * * 1/0", "1/0 is no day of the week"),
        ("0 25 * * *", "25"),
        ("0 0 31 2 *", "it never comes"),
    ],
)
def test_what_is_no_cron_line_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        cron_trigger(text, UTC)


def test_an_interval_is_counted_from_its_anchor() -> None:
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    made = trigger_of(ScheduleOptions(interval=90.0), anchor)
    assert made.get_next_fire_time(None, anchor + timedelta(seconds=100)) == anchor + timedelta(seconds=180)


def test_time_zones() -> None:
    assert zone("Europe/Berlin") == BERLIN
    with pytest.raises(ValueError, match="there is no time zone Mars/Olympus"):
        zone("Mars/Olympus")
