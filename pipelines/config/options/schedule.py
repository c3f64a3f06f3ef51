"""The ``schedule`` config group as dataclasses. Light: the config can be read without APScheduler."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from pipelines.system.redact import redact_text
from stages.options.rules import COUNT, NOT_EMPTY, matches, one_of, option, part, seconds, some_of

PROMOTED, KEPT, UNCHANGED, REFUSED = "promoted", "kept", "unchanged", "refused"
FAILED, INTERRUPTED, SKIPPED, MISSED = "failed", "interrupted", "skipped", "missed"
OUTCOMES = (PROMOTED, KEPT, UNCHANGED, REFUSED, FAILED, INTERRUPTED, SKIPPED, MISSED)
"""How a tick can end. The first six are also those of ``detpress retrain``."""

_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")


@dataclass
class NotifyOptions:
    """Who is notified of how a tick ended."""

    webhook: str | None = option(
        None,
        matches(r"(https?://|\$).*", "it must begin with http:// or https://, or be $NAME", quiet=True),
        "URL that gets a POST with a JSON body; `$NAME` in it is read from the environment when it is sent",
    )
    token_env: str | None = option(
        None,
        matches(r"[A-Za-z_]\w*", "it must be the name of an environment variable, not the token itself", quiet=True),
        "name of the environment variable whose value is sent as `Authorization: Bearer`",
    )
    command: list[str] = option(
        [], doc="a program and its arguments, started without a shell; it gets the JSON on its standard input"
    )
    outcomes: list[str] = option(
        [PROMOTED, KEPT, REFUSED, FAILED, INTERRUPTED],
        some_of(lambda: OUTCOMES, "outcome"),
        f"the outcomes that are reported, of {', '.join(f'`{name}`' for name in OUTCOMES)}",
    )
    timeout: float = option(10.0, seconds(more=True), "seconds that the receiver gets")


@dataclass
class ScheduleOptions:
    """When `detpress retrain` is started, and what happens when that goes wrong."""

    name: str = option(
        "retrain",
        matches(
            "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
            "it must be letters, digits, dots, dashes and underscores, at most 64, beginning with a letter or digit",
        ),
        "name of the schedule in its store: the same name replaces a stored schedule, another one is added",
    )
    cron: str | None = option(
        None, doc="minute, hour, day of month, month, day of week, as in a crontab; or set `interval`"
    )
    interval: float | None = option(None, seconds(1), "seconds between two ticks; instead of `cron`")
    timezone: str | None = option(None, doc="IANA name of the time zone of `cron`; null: that of this machine")
    at_start: bool = option(False, doc="a new schedule's first tick is due at once")
    overlap: str = option(
        "skip",
        one_of("skip", "queue"),
        "what a tick does while an earlier retraining still runs: `skip` it, or `queue` (at most one waits)",
    )
    catch_up: str = option(
        "once",
        one_of("once", "skip"),
        "ticks that were missed while no scheduler ran: `once` runs one for all of them, `skip` none",
    )
    max_late: float = option(
        60.0, seconds(more=True), "seconds that a tick may be late with `catch_up: skip` before it counts as missed"
    )
    retries: int = option(2, COUNT, "how often a run that failed or was interrupted is tried again within its tick")
    backoff: float = option(60.0, seconds(), "seconds before the first retry; each further one waits twice as long")
    max_backoff: float = option(3600.0, seconds(), "the longest such wait, in seconds")
    deadline: float | None = option(
        None,
        seconds(more=True),
        "seconds from the start of a tick, retries included, after which its run is stopped; null: no limit",
    )
    grace: float = option(30.0, seconds(), "seconds between SIGTERM and SIGKILL when a run is stopped")
    resumes: int = option(
        3,
        COUNT,
        "how often a tick whose run was interrupted along with the scheduler is continued after a restart; 0: never",
    )
    command: list[str] | None = option(
        None,
        NOT_EMPTY,
        "a program and its arguments that a tick starts, followed by the config's overrides; null: `detpress retrain`",
    )
    store: str | None = option(
        None,
        doc="SQLAlchemy URL of the job store; `$NAME` comes from the environment; null: SQLite under `run.artifacts`",
    )
    keep_logs: int = option(50, COUNT, "how many logs of ticks are kept")
    track: bool = option(True, doc="record each tick as a run of the experiment `schedule NAME` in MLflow")
    notify: NotifyOptions = part(NotifyOptions)


def expand(text: str) -> str:
    """``text`` with ``$NAME`` and ``${NAME}`` replaced from the environment.

    Raises:
        KeyError: the variable's name, if it is not set.
    """
    return _VARIABLE.sub(lambda match: os.environ[match[1] or match[2]], text)


def states_a_secret(text: str) -> bool:
    """Whether a secret is written out in ``text`` instead of being named as ``$NAME``."""
    plain = _VARIABLE.sub("", text)
    if "://" in plain and " " not in plain:
        parts = urlsplit(plain)
        if parts.password:
            return True
        plain = plain.replace(f"{parts.netloc.rpartition('@')[0]}@", "") if "@" in parts.netloc else plain
    hidden = redact_text(plain)
    return hidden != plain and re.search(r"=(?=&|$)", plain) is None
