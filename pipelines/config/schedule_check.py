"""What the rules of the ``schedule`` group cannot say: a cron line, a time zone, secrets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from pipelines.config.cron import trigger_of, zone
from pipelines.config.keys import Problem
from pipelines.config.options.schedule import ScheduleOptions, states_a_secret

_SECRET = "has a secret in it; export that and write $NAME in its place, it is read when it is needed"


def check_schedule(options: ScheduleOptions) -> Iterator[Problem]:
    """The problems of what is set. That neither ``cron`` nor ``interval`` is, only ``detpress schedule`` minds."""
    if options.cron is not None and options.interval is not None:
        yield Problem("schedule", "cron and interval exclude each other; set one of them to null")
        return
    try:
        if options.timezone is not None:
            zone(options.timezone)
    except ValueError as error:
        yield Problem("schedule.timezone", str(error))
        return
    if options.cron is not None:
        try:
            trigger_of(options, datetime.now(timezone.utc))
        except (ValueError, TypeError) as error:
            yield Problem("schedule.cron", f"{options.cron!r} does not fit; {error}")
    notify = options.notify
    for key, value in (("notify.webhook", notify.webhook), ("store", options.store)):
        if value is not None and states_a_secret(value):
            yield Problem(f"schedule.{key}", _SECRET)
    if any(states_a_secret(part) for part in notify.command):
        yield Problem("schedule.notify.command", _SECRET)
    if notify.token_env is not None and notify.webhook is None:
        yield Problem("schedule.notify.token_env", "goes along to notify.webhook, which is not set")
