"""From ``schedule.cron`` or ``schedule.interval`` to APScheduler's triggers, with cron's own meaning of weekdays."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipelines.config.options.schedule import ScheduleOptions

if TYPE_CHECKING:
    from apscheduler.triggers.base import BaseTrigger

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def zone(name: str | None) -> tzinfo:
    """The time zone of that IANA name, or this machine's. Raises ValueError if there is none of that name."""
    if name is None:
        from tzlocal import get_localzone

        return get_localzone()
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # a folder of the data base raises OSError
        raise ValueError(f"there is no time zone {name}; write an IANA name, e.g. Europe/Berlin or UTC") from error


def trigger_of(options: ScheduleOptions, anchor: datetime) -> BaseTrigger:
    """The trigger; ``anchor`` is when the ticks of an interval are counted from. Raises ValueError with the reason."""
    if options.interval is not None:
        from apscheduler.triggers.interval import IntervalTrigger

        return IntervalTrigger(seconds=options.interval, start_date=anchor, timezone=zone(options.timezone))
    if options.cron is None:
        raise ValueError("neither cron nor interval is given")
    return cron_trigger(options.cron, zone(options.timezone))


def cron_trigger(text: str, timezone: tzinfo) -> BaseTrigger:
    """A crontab line's five fields, or a shorthand such as ``@daily``.

    APScheduler 3 counts weekdays from Monday and asks for both days to match; cron counts from Sunday, and where day
    of month and day of week are both restricted, either is enough. A schedule copied from a crontab means the latter.
    """
    from apscheduler.triggers.combining import OrTrigger
    from apscheduler.triggers.cron import CronTrigger

    fields = _SHORTHANDS.get(text.strip().lower(), text).split()
    if len(fields) != 5:
        raise ValueError(f"it has {len(fields)} fields; cron wants 5: minute, hour, day of month, month, day of week")
    minute, hour, day, month, weekday = (field.lower() for field in fields)
    days = _weekdays(weekday)

    def trigger(day: str, days: str) -> CronTrigger:
        return CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=days, timezone=timezone)

    made: BaseTrigger
    if day.startswith("*") or weekday.startswith("*"):
        made = trigger(day, days)
    else:
        made = OrTrigger([trigger(day, "*"), trigger("*", days)])
    if made.get_next_fire_time(None, datetime.now(timezone)) is None:
        raise ValueError("it never comes (a 31st of February, say); choose another date")
    return made


def _weekdays(text: str) -> str:
    """cron's day-of-week field (0 and 7 are Sunday) as a list of names."""
    if text == "*":
        return text
    chosen: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, dash, last = ("0", "-", "6") if span == "*" else span.partition("-")
        low = _weekday(first)
        high = _weekday(last) if dash else (6 if step else low)
        if dash and (high < low or (last == "7" and first != "7")):
            high += 7
        if step and not (step.isdigit() and int(step)):
            raise ValueError(f"{part} is no day of the week; a step is a whole number above 0, e.g. */2")
        chosen |= {number % 7 for number in range(low, high + 1, int(step or 1))}
    return ",".join(_DAYS[number] for number in sorted(chosen))


def _weekday(text: str) -> int:
    if text in _DAYS:
        return _DAYS.index(text)
    if text.isdigit() and int(text) <= 7:
        return int(text) % 7
    raise ValueError(f"{text} is no day of the week; write 0 to 7 (0 and 7: Sunday) or sun, mon, ...")
