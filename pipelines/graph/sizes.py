"""Which model and input size reach a latency: candidates by how much work they are, timed only where that is open.

Latency grows about with the multiply-adds (`work.py`), so the candidates stand in that order and the search is for a
place in it: the largest that reaches the limit beside the smallest that does not. Each engine that is timed says where
the next one should be looked for; between two that enclose the limit by a straight line, outside of them in proportion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipelines.graph.work import PER_IMAGE
from stages.detection.size import ModelSize, size_of
from stages.options.model import ModelOptions

CLOSE = 1.1
"""Candidates that differ by less than this factor in work are as good as one: a timing does not tell them apart."""


@dataclass(frozen=True)
class Candidate:
    """A model at an input size (pixels of both sides)."""

    model: str
    side: int
    multiply_adds: float

    @property
    def work(self) -> float:
        """What its latency is about in proportion to."""
        return self.multiply_adds + PER_IMAGE


@dataclass(frozen=True)
class Timing:
    """Median in milliseconds, and the verdict on it (``valid``, or ``invalid: why``)."""

    ms: float
    verdict: str


@dataclass
class Search:
    """What was timed, in order, and where the limit lies among the ``candidates``, which stand in order of work."""

    candidates: list[Candidate]
    limit: float
    timed: dict[Candidate, Timing] = field(default_factory=dict)
    holds: int = -1
    """Number of the largest candidate that reached the limit; -1: none yet."""
    fails: int = 0
    """Number of the smallest one beyond it that did not; as many as there are: none yet."""

    def __post_init__(self) -> None:
        self.fails = len(self.candidates)

    @property
    def best(self) -> Candidate | None:
        """The largest that reached the limit."""
        return self.candidates[self.holds] if self.holds >= 0 else None

    @property
    def bracketed(self) -> bool:
        """Whether nothing is left to be timed: both ends are known, and what lies between is as good as one."""
        if self.fails - self.holds == 1:
            return True
        if self.holds < 0 or self.fails == len(self.candidates):
            return False
        return self.candidates[self.fails].work <= CLOSE * self.candidates[self.holds].work

    def run(self, measure: Callable[[Candidate], Timing], most: int) -> None:
        """Time candidates until the limit is bracketed, or ``most`` of them are timed."""
        while not self.bracketed and len(self.timed) < most:
            place = self._next()
            timing = self.timed[self.candidates[place]] = measure(self.candidates[place])
            if timing.ms <= self.limit:
                self.holds = place
            else:
                self.fails = place

    def predicted(self, candidate: Candidate) -> float:
        """Milliseconds that a candidate takes: as timed, or by those that were."""
        if candidate in self.timed:
            return self.timed[candidate].ms
        known = sorted((one.work, timing.ms) for one, timing in self.timed.items())
        below = [pair for pair in known if pair[0] <= candidate.work]
        above = [pair for pair in known if pair[0] > candidate.work]
        if not below or not above:
            work, ms = (below[-1:] or above[:1])[0]
            return ms * candidate.work / work
        (low, fast), (high, slow) = below[-1], above[0]
        return fast + (slow - fast) * (candidate.work - low) / (high - low)

    def largest(self) -> list[tuple[Candidate, float]]:
        """Of each model, in order of size, its largest input that reaches the limit (or, where none does, its smallest
        input), with the milliseconds that it takes."""
        by_model: dict[str, list[Candidate]] = {}
        for candidate in self.candidates:
            by_model.setdefault(candidate.model, []).append(candidate)
        found = []
        for own in by_model.values():
            fitting = [one for one in own if self.predicted(one) <= self.limit]
            chosen = fitting[-1] if fitting else own[0]
            found.append((chosen, self.predicted(chosen)))
        return found

    def _next(self) -> int:
        """The candidate to be timed; the smallest first, whose engine is made in no time."""
        if not self.timed:
            return 0
        low, high = self.holds + 1, self.fails - 1
        if self.holds >= 0 and self.fails < len(self.candidates) and len(self.timed) % 3 == 0:
            return (low + high) // 2  # a line that is none would come closer from one side only
        open_ = range(low, high + 1)
        if reaching := [n for n in open_ if self.predicted(self.candidates[n]) <= self.limit]:
            return reaching[-1]
        # None of them should reach it: the last one that would close the bracket.
        held = self.best
        closing = [n for n in open_ if held is not None and self.candidates[n].work <= CLOSE * held.work]
        return closing[-1] if closing else low


def candidates(models: Mapping[str, ModelOptions], sides: Sequence[int]) -> list[Candidate]:
    """Every model at every size, in order of work. Models that are the same work at all sizes count once, the first."""
    found: dict[tuple[ModelSize | None, ...], list[Candidate]] = {}
    for name, options in models.items():
        sizes = tuple(size_of(replace(options, input_size=[side, side])) for side in sides)
        if None in sizes:
            continue
        own = [
            Candidate(name, side, float(size.multiply_adds))
            for side, size in zip(sides, sizes, strict=True)
            if size is not None
        ]
        found.setdefault(sizes, own)
    return sorted((one for own in found.values() for one in own), key=lambda one: (one.work, one.model))
