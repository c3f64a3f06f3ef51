"""The order in which compressions are tried, and when that ends. It knows no model: a `Workshop` makes and judges.

(a) *ranges*: post-training ranges, one algorithm after another, all from one observation;
(b) *corrections* of the best of these, where there is something to correct: channels equalised, then biases corrected;
(c) *distillation* from the best ranges, twice as long as long as that gains; not where equalised channels alone made
    them good, since it starts without those;
(d) *float blocks* of the best of all, worst first, one more at a time, and twice as many after three steps that gained
    nothing: a limit that few blocks do not reach is reached with more of them, or the engine becomes too slow.

It ends with the first step whose drop holds by the upper bound of its interval; when the time budget is spent, or would
be with the next step; when nothing gains. It keeps the step with the lowest upper bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from stages.contract import StageContext
from stages.errors import StageError
from stages.search.judgement import Judgement
from stages.search.ledger import CORRECT, DISTILL, FLOAT, RANGES, RANK, Ledger, Step, Tried

HOLDS, BUDGET, NOTHING_GAINS, TOO_SLOW = "holds", "budget", "nothing gains", "too slow"
"""Why a search ends."""
GAIN = 0.05
"""Of the limit: a step gains if the upper bound falls by this much; less is not worth the time of another such step."""
PATIENCE = 3  # steps of blocks in float that bring nothing, one after another, before a step takes twice as many
NEW_RANGES = ("equalize",)  # where these gain, all algorithms are tried with them: others may be the best then


@dataclass(frozen=True)
class Limits:
    """What is asked: see ``compression.max_drop`` and those below it."""

    max_drop: float
    time_budget: float
    """Seconds."""
    algorithms: Sequence[str]
    round_steps: int
    """Steps of the first distillation."""
    most_steps: int
    min_speedup: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """``best`` is what to continue with, whether it holds or not."""

    best: Tried
    why: str
    path: list[Tried]


class Workshop(Protocol):
    """Makes what a step says and judges it."""

    def make(self, step: Step) -> Judgement:
        """StageError if it cannot be made."""

    def corrections(self) -> Sequence[str]:
        """The corrections that would change something, in the order in which they are tried."""

    def rank(self, step: Step) -> Sequence[str]:
        """The blocks of the step called ``step.base``, the one that loses most in INT8 first."""


class _Stop(Exception):
    """The search ends; ``why`` is one of the reasons above."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Escalation:
    """See the module's docstring."""

    def __init__(
        self,
        workshop: Workshop,
        limits: Limits,
        ledger: Ledger,
        context: StageContext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.workshop, self.limits, self.ledger, self.context = workshop, limits, ledger, context
        self._clock = clock
        self._path: list[Tried] = []

    def run(self) -> Outcome:
        """Try until something holds or nothing is left. StageError if not even one step could be made."""
        why = NOTHING_GAINS
        try:
            self._ranges()
            self._corrections()
            self._distillations()
            self._float_blocks()
        except _Stop as stop:
            why = stop.why
        best = self._best(self._path)
        if best is None:
            raise StageError(f"no compression could be made: {self._path[-1].failed}")
        return Outcome(best, why, list(self._path))

    def _ranges(self) -> None:
        for algorithm in self.limits.algorithms:
            self._try(Step(RANGES, algorithm))

    def _corrections(self) -> None:
        for name in self.workshop.corrections() if self._best(self._path) else ():
            best = self._best(self._path)
            assert best is not None
            names = (*best.step.corrections, name)
            for algorithm in dict.fromkeys([best.step.algorithm, *self.limits.algorithms]):
                tried = self._try(Step(CORRECT, algorithm, corrections=names))
                if name not in NEW_RANGES or not self._gains(tried, best):
                    break

    def _distillations(self) -> None:
        start = self._best(self._path)
        if start is None or self._needs_its_channels(start):
            return
        before, steps = start, min(self.limits.round_steps, self.limits.most_steps)
        while True:
            tried = self._try(Step(DISTILL, start.step.algorithm, steps))
            if not self._gains(tried, before) or steps == self.limits.most_steps:
                return
            before, steps = tried, min(2 * steps, self.limits.most_steps)

    def _needs_its_channels(self, start: Tried) -> bool:
        """Whether equalised channels are for certain what makes ``start`` good: a distillation starts without them."""
        plain = self.ledger.find(Step(RANGES, start.step.algorithm).name)
        equalised = set(start.step.corrections) & set(NEW_RANGES)
        if not equalised or plain is None or plain.judgement is None or start.judgement is None:
            return False
        lost = plain.judgement.low - start.judgement.high
        if lost > self.limits.max_drop:
            self.context.info(
                f"no distillation: it would start without {NEW_RANGES[0]}, worth at least {lost:.2f} here"
            )
        return lost > self.limits.max_drop

    def _float_blocks(self) -> None:
        base = self._best(self._path)
        if base is None:
            return
        ranking = self._ranking(base.step)[:-1]  # with the last one nothing would be left in INT8
        best, idle, count, stride = base, 0, 0, 1
        while count < len(ranking):
            count = min(count + stride, len(ranking))
            tried = self._try(replace(base.step, kind=FLOAT, base=base.step.name, blocks=tuple(ranking[:count])))
            if self._too_slow(tried):
                raise _Stop(TOO_SLOW)
            idle = 0 if self._gains(tried, best) else idle + 1
            best = self._best([best, tried]) or best
            if idle == PATIENCE:
                idle, stride = 0, 2 * stride

    def _ranking(self, base: Step) -> Sequence[str]:
        step = replace(base, kind=RANK, base=base.name)
        known = self.ledger.find(step.name)
        if known is None:
            self._require_time(step)
            started = self._clock()
            found = tuple(self.workshop.rank(step))
            known = Tried(step, self._clock() - started, found=found)
            self.ledger.add(known)
        self._path.append(known)
        return known.found

    def _try(self, step: Step) -> Tried:
        """Do the step, or take it from the interrupted search; end the search if it holds."""
        tried = self.ledger.find(step.name)
        if tried is None:
            self._require_time(step)
            tried = self._do(step)
            self.ledger.add(tried)
        self._path.append(tried)
        if tried.judgement:
            self.context.metric("drop", tried.judgement.drop, len(self._path))
            self.context.metric("drop_high", tried.judgement.high, len(self._path))
        if tried.judgement and tried.judgement.holds(self.limits.max_drop) and not self._too_slow(tried):
            raise _Stop(HOLDS)
        return tried

    def _do(self, step: Step) -> Tried:
        started = self._clock()
        try:
            judgement = self.workshop.make(step)
        except StageError as error:
            self.context.warn(f"{step.name}: {error}; the search continues without it")
            return Tried(step, self._clock() - started, failed=str(error))
        tried = Tried(step, self._clock() - started, judgement)
        self.context.info(
            f"{step.name}: drop {judgement.drop:.2f} ({judgement.low:.2f} to {judgement.high:.2f}), "
            f"{tried.seconds:.0f} s"
        )
        return tried

    def _require_time(self, step: Step) -> None:
        """End the search where the step, as long as those of its kind took, would not end within the budget. The first
        step is done in any case: something has to come out."""
        if self.ledger.tried and self.ledger.seconds + self._expected(step) >= self.limits.time_budget:
            raise _Stop(BUDGET)

    def _expected(self, step: Step) -> float:
        """Seconds: what the last of its kind took, for as many steps as a longer distillation has more."""
        kinds = (RANGES, CORRECT) if step.kind == CORRECT else (step.kind,)
        alike = [one for one in self.ledger.tried if one.step.kind in kinds]
        if not alike:
            return 0.0
        last = alike[-1]
        if step.kind != DISTILL:
            return last.seconds
        earlier = alike[-2].step.steps if len(alike) > 1 else 0
        return last.seconds * (step.steps - last.step.steps) / max(1, last.step.steps - earlier)

    def _gains(self, tried: Tried, before: Tried) -> bool:
        if tried.judgement is None or before.judgement is None:
            return False
        return before.judgement.high - tried.judgement.high >= GAIN * self.limits.max_drop

    def _too_slow(self, tried: Tried) -> bool:
        speedup = tried.judgement.speedup if tried.judgement else None
        return speedup is not None and speedup < self.limits.min_speedup

    def _best(self, path: Iterable[Tried]) -> Tried | None:
        """The lowest upper bound, the earliest of equals; never what is slower than asked."""
        usable = [(one.judgement.high, i, one) for i, one in enumerate(path) if one.judgement]
        usable = [entry for entry in usable if not self._too_slow(entry[2])]
        return min(usable, key=lambda entry: entry[:2])[2] if usable else None
