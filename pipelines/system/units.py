"""Seconds and bytes, for people."""

from __future__ import annotations


def duration(seconds: float | None) -> str:
    """``0.8 s``, ``42 s``, ``3 min``, ``2.5 h``; empty for ``None``."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(count: float | None) -> str:
    """``512 B``, ``3.4 MB``, ``214 MB``; empty for ``None``."""
    if count is None:
        return ""
    if count < 1000:
        return f"{count:.0f} B"
    value, unit = count / 1000, "kB"
    for larger in ("MB", "GB"):
        if value >= 1000:
            value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
