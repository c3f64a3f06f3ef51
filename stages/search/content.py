"""``search.json``: the path of a search, in numbers and in words.

::

    schema_version, backend, unit ("mAP" or "distance"), max_drop, time_budget (seconds; as asked)
    images        how many it was judged on: labelled training images, or unlabeled ones where the unit is "distance"
    met           whether the upper bound of the drop is within the limit; why: what ended it; outcome: in words
    chosen        the name of the step that came out
    seconds       all steps together
    path          every step in order: name, kind, algorithm, steps, blocks, drop, low, high, speedup (null: not
                  timed), seconds, at (seconds from the beginning to its end), failed (the reason, or "")
    undecided     sentences: what so many images cannot say, and how many would
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from stages.search.escalation import BUDGET, HOLDS, TOO_SLOW, Limits, Outcome
from stages.search.judgement import MAP, Judgement, images_to_hold, images_to_tell
from stages.search.ledger import RANK, Tried

SCHEMA_VERSION = 1


def content(outcome: Outcome, limits: Limits, backend: str) -> dict[str, Any]:
    """The content of ``search.json``."""
    best = judged(outcome.best)
    ends = accumulate(tried.seconds for tried in outcome.path)
    return {
        "schema_version": SCHEMA_VERSION,
        "backend": backend,
        "unit": best.unit,
        "max_drop": limits.max_drop,
        "time_budget": limits.time_budget,
        "images": best.images,
        "met": outcome.why == HOLDS,
        "why": outcome.why,
        "outcome": told(outcome, limits),
        "chosen": outcome.best.step.name,
        "seconds": sum(tried.seconds for tried in outcome.path),
        "path": [_entry(tried, at) for tried, at in zip(outcome.path, ends, strict=True)],
        "undecided": undecided(outcome, limits),
    }


def judged(tried: Tried) -> Judgement:
    """The judgement of a step that came out, which has one."""
    assert tried.judgement is not None
    return tried.judgement


def told(outcome: Outcome, limits: Limits) -> str:
    """What came out and why it ended, for the log and the report."""
    best = judged(outcome.best)
    unit = " mAP" if best.unit == MAP else " (distance of outputs)"
    figures = f"a drop of {best.drop:.2f} ({best.low:.2f} to {best.high:.2f}){unit} on {best.images} images"
    asked = f"compression.max_drop={limits.max_drop:g}"
    tried = sum(1 for one in outcome.path if one.step.kind != RANK)
    if outcome.why == HOLDS:
        steps = "the first step" if tried == 1 else f"step {tried}"
        return f"{asked} holds with {outcome.best.step.name}, {steps} tried: {figures}"
    ended = {
        BUDGET: f"the time is up: {sum(one.seconds for one in outcome.path):.0f} s of compression.time_budget="
        f"{limits.time_budget:g} are spent, and the next step would not end within it",
        TOO_SLOW: f"with more blocks in float it would be less than {limits.min_speedup:g} times as fast as FP32 "
        "(compression.min_speedup)",
    }.get(outcome.why, "nothing that is left gains")
    return (
        f"{asked} was not shown to hold: {ended}. The best of {tried} steps is {outcome.best.step.name}, with {figures}"
    )


def undecided(outcome: Outcome, limits: Limits) -> list[str]:
    """What so many images do not say of what came out, and how many would, if the drop is what it looks like."""
    best = judged(outcome.best)
    said = []
    if best.zero:
        more = images_to_tell(best)
        would = f"; about {more} would, if it is what it looks like" if more is not None else ""
        said.append(f"{best.images} images do not tell its drop apart from zero{would}")
    if (more := images_to_hold(best, limits.max_drop)) is not None:
        said.append(
            f"{best.images} images do not show that a drop of {limits.max_drop:g} holds, though it looks like "
            f"{best.drop:.2f}; about {more} would (compression.judge_images, more labelled training images)"
        )
    return said


def _entry(tried: Tried, at: float) -> dict[str, Any]:
    step, judgement = tried.step, tried.judgement
    return {
        "name": step.name,
        "kind": step.kind,
        "algorithm": step.algorithm,
        "steps": step.steps,
        "blocks": list(step.blocks),
        "drop": judgement.drop if judgement else None,
        "low": judgement.low if judgement else None,
        "high": judgement.high if judgement else None,
        "speedup": judgement.speedup if judgement else None,
        "seconds": tried.seconds,
        "at": at,
        "failed": tried.failed,
    }
