"""Moments and durations for people: one form everywhere, in this machine's time zone, with the zone.

Files keep UTC (``2026-01-01T10:00:00Z``), which sorts and needs no zone; only what is printed goes through here.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def moment(at: datetime | float | str) -> datetime:
    """A moment from seconds since the epoch or from a stamp as the files have it; without a zone it is UTC.

    Raises:
        ValueError: the text is no stamp.
    """
    if isinstance(at, str):
        at = datetime.fromisoformat(at.replace("Z", "+00:00"))
    elif not isinstance(at, datetime):
        return datetime.fromtimestamp(at, timezone.utc)
    return at if at.tzinfo is not None else at.replace(tzinfo=timezone.utc)


def local(at: datetime | float | str | None) -> str:
    """``2026-01-01 11:00:00 CET``; empty for ``None``; text that is no stamp stays as it is."""
    if at is None:
        return ""
    try:
        return moment(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    except ValueError:
        return str(at)


def span(seconds: float) -> str:
    """Its two largest units, for a countdown or an age: ``3 d 4 h``, ``3 h 20 min``, ``5 min``, ``42 s``."""
    left = max(0, round(seconds))
    if left >= 600:
        left = round(left / 60) * 60  # nobody counts the seconds of an hour
    parts: list[tuple[int, str]] = []
    for unit, length in _UNITS:
        count, left = divmod(left, length)
        if count or (parts and len(parts) < 2):
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count) or "0 s"


def age(at: datetime | float | str | None) -> str:
    """How long ago it was, roughly: ``5 min``, ``3 h``, ``12 d``; empty where nothing is known."""
    if not at:
        return ""
    try:
        seconds = time.time() - moment(at).timestamp()
    except ValueError:
        return ""
    return span(seconds).partition(" ")[0] + " " + span(seconds).split()[1]


def distance(at: datetime | float | str) -> str:
    """``in 3 h 20 min`` or ``5 min ago``."""
    seconds = moment(at).timestamp() - time.time()
    return f"in {span(seconds)}" if seconds >= 0 else f"{span(-seconds)} ago"
