"""What single values of the ``schedule`` group cannot say: a cron line, a time zone, names, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone

from pipelines.config.cron import trigger_of, zone
from pipelines.config.keys import Problem, close_to, suggestion
from pipelines.config.options.schedule import OUTCOMES, ScheduleOptions, states_a_secret

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SECRET = "has a secret in it; export that and write $NAME in its place, it is read when it is needed"


def check_schedule(options: ScheduleOptions) -> Iterator[Problem]:
    """The problems of what is set. That neither ``cron`` nor ``interval`` is, only ``detpress schedule`` minds."""
    if not _NAME.fullmatch(options.name):
        yield Problem("schedule.name", f"{options.name!r} does not fit; use letters, digits, dots and dashes")
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
    for name in [name for name in notify.outcomes if name not in OUTCOMES]:
        meant = suggestion(close_to(name, OUTCOMES))
        yield Problem(
            "schedule.notify.outcomes", f"there is no outcome {name}{meant} (there are {', '.join(OUTCOMES)})"
        )
    for key, value in (("notify.webhook", notify.webhook), ("store", options.store)):
        if value is not None and states_a_secret(value):
            yield Problem(f"schedule.{key}", _SECRET)
    if any(states_a_secret(part) for part in notify.command):
        yield Problem("schedule.notify.command", _SECRET)
    if notify.webhook is not None and not re.match(r"https?://|\$", notify.webhook):
        yield Problem("schedule.notify.webhook", "it must begin with http:// or https://, or be $NAME")
    if notify.token_env is not None and not re.fullmatch(r"[A-Za-z_]\w*", notify.token_env):
        yield Problem("schedule.notify.token_env", "it is the name of an environment variable, not the token itself")
    if notify.token_env is not None and notify.webhook is None:
        yield Problem("schedule.notify.token_env", "goes along to notify.webhook, which is not set")
    if options.command is not None and not options.command:
        yield Problem("schedule.command", "is empty; name a program, or null for `detpress retrain`")
