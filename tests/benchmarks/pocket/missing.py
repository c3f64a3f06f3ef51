"""How a step says that this machine has not what it needs. Needs Python alone."""

from __future__ import annotations


class Missing(Exception):
    """The message says what."""
