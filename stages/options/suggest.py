"""Did you mean: the names nearest to one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def close_to(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> list[str]:
    """The names nearest to ``word``, best first, at most three of equal rank."""
    low = word.lower()
    rated = [(_likeness(low, name.lower()), name) for name in set(known)]
    best = max((rate for rate, _ in rated), default=0.0)
    if best < cutoff:
        return []
    nearest = [name for rate, name in rated if rate > best - 1e-9]

    def distance(name: str) -> int:  # among equals, the letter next to the typed one comes first
        return sum(abs(ord(a) - ord(b)) for a, b in zip(word, name, strict=False))

    return sorted(nearest, key=lambda name: (distance(name), name))[:3]


def _likeness(word: str, name: str) -> float:
    """0 to 1; a word that the name begins with counts as near, however much is missing."""
    ratio = difflib.SequenceMatcher(None, word, name).ratio()
    return max(ratio, 0.8) if len(word) >= 3 and name.startswith(word) else ratio


def suggestion(names: Sequence[str]) -> str:
    """`` (did you mean a, b or c?)``, or nothing."""
    if not names:
        return ""
    listed = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"; did you mean {listed}?"
