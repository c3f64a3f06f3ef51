"""Tests that take many minutes alone: whole with ``make test-slowest``, in part or not at all with ``make test``."""

from __future__ import annotations

import os

import pytest

SLOWEST = os.environ.get("DETPRESS_TEST_SLOWEST") == "1"
only_then = pytest.mark.skipif(not SLOWEST, reason="takes many minutes: make test-slowest")


def of(whole: int) -> int:
    """How many of so many repetitions are made: all, or a fifth, at least one."""
    return whole if SLOWEST else max(1, whole // 5)
