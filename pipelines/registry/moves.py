"""Moves of the champion's alias: which of those that were noted took place, and who was champion before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PROMOTE, ROLLBACK = "promote", "rollback"


@dataclass(frozen=True)
class Move:
    """The champion's alias went from one version to another (``None``: from or to nowhere)."""

    action: str
    before: str | None
    after: str | None
    at: str
    forced: bool = False


def effective(noted: Sequence[Move], now: str | None) -> list[Move]:
    """The moves that lead to the champion ``now``; one that was noted and never made leads nowhere.

    Args:
        noted: oldest first.
    """
    found: list[Move] = []
    after = now
    for move in reversed(noted):
        if move.after == after:
            found.append(move)
            after = move.before
    return found[::-1]


def predecessor(moves: Sequence[Move]) -> str | None:
    """The version that a rollback goes back to: a promotion puts one on top, a rollback takes one off."""
    stack: list[str | None] = []
    for move in moves:
        if move.action == ROLLBACK:
            stack = stack[:-1]
        else:
            stack = [*(stack or [move.before]), move.after]
    return stack[-2] if len(stack) > 1 else None
