"""The ``schedule`` config group as dataclasses. Light: the config can be read without APScheduler."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pipelines.system.redact import redact_text

PROMOTED, KEPT, UNCHANGED, REFUSED = "promoted", "kept", "unchanged", "refused"
FAILED, INTERRUPTED, SKIPPED, MISSED = "failed", "interrupted", "skipped", "missed"
OUTCOMES = (PROMOTED, KEPT, UNCHANGED, REFUSED, FAILED, INTERRUPTED, SKIPPED, MISSED)
"""How a tick can end. The first six are also those of ``detpress retrain``."""

_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")


@dataclass
class NotifyOptions:
    """Who is told of a tick's end (``conf/schedule``, ``notify``)."""

    webhook: str | None = None
    """URL that gets a POST with a JSON body; ``$NAME`` in it is read from the environment when it is sent."""
    token_env: str | None = None
    """Name of the environment variable whose value goes along as ``Authorization: Bearer``."""
    command: list[str] = field(default_factory=list)
    """A program and its arguments, started without a shell; it gets the JSON on its standard input."""
    outcomes: list[str] = field(default_factory=lambda: [PROMOTED, KEPT, REFUSED, FAILED, INTERRUPTED])
    """The outcomes that are told."""
    timeout: float = 10.0
    """Seconds that the receiver gets."""


@dataclass
class ScheduleOptions:
    """When ``detpress retrain`` is started, and what happens when that goes wrong (``conf/schedule``)."""

    name: str = "retrain"
    """Name of the schedule in its store: the same name replaces it, another one stands beside it."""
    cron: str | None = None
    """Minute, hour, day of month, month, day of week, as in a crontab."""
    interval: float | None = None
    """Seconds between two ticks; instead of ``cron``."""
    timezone: str | None = None
    """IANA name, which ``cron`` is read in; ``None``: that of this machine."""
    at_start: bool = False
    """A new schedule's first tick is due at once."""
    overlap: str = "skip"
    """What a tick does while an earlier retraining still runs: ``skip`` it, or ``queue`` (at most one waits)."""
    catch_up: str = "once"
    """Ticks that were missed while nothing ran: ``once`` runs one for all of them, ``skip`` none."""
    max_late: float = 60.0
    """Seconds that a tick may be late with ``catch_up: skip`` before it counts as missed."""
    retries: int = 2
    """How often a run that failed or was interrupted is tried again within its tick."""
    backoff: float = 60.0
    """Seconds before the first retry; each further one waits twice as long."""
    max_backoff: float = 3600.0
    """The longest such wait, seconds."""
    deadline: float | None = None
    """Seconds from the start of a tick, retries included, after which its run is stopped; ``None``: no limit."""
    grace: float = 30.0
    """Seconds between SIGTERM and SIGKILL when a run is stopped."""
    resumes: int = 3
    """How often a tick whose run was interrupted along with the scheduler goes on after a restart; 0: never."""
    command: list[str] | None = None
    """What a tick starts, with the config's overrides behind it; ``None``: ``detpress retrain``."""
    store: str | None = None
    """SQLAlchemy URL of the job store; ``$NAME`` comes from the environment; ``None``: SQLite under run.artifacts."""
    keep_logs: int = 50
    """How many logs of ticks are kept."""
    track: bool = True
    """Make each tick a run of the experiment ``schedule NAME`` in MLflow."""
    notify: NotifyOptions = field(default_factory=NotifyOptions)


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
