"""What a plan says of time, in words: before a run, and what is left of it while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.execution.events import PlannedStage
from pipelines.system.times import span

LONG_SECONDS = 600.0
"""A stage that takes longer gets a word on how to try it first."""

TELLING_SECONDS = 60.0
"""Where what is known of a part is less than this, it says nothing about the whole."""


def planned_line(stages: Sequence[PlannedStage]) -> list[str]:
    """How many stages there are, how many of them are cached, and what the others take; then what takes very long."""
    computed = [stage for stage in stages if not stage.cached]
    cached = len(stages) - len(computed)
    counted = f"{len(stages)} stage{'' if len(stages) == 1 else 's'}"
    if cached:
        counted += f", {cached} of them cached"
    lines = [f"{counted}; {about(computed)}"]
    for stage in computed:
        if stage.seconds is not None and stage.seconds >= LONG_SECONDS:
            hint = f"; a first try: {stage.shorter}" if stage.shorter else ""
            lines.append(f"{stage.id} alone takes about {span(stage.seconds)} on this machine{hint}")
    return lines


def about(computed: Sequence[PlannedStage]) -> str:
    """What stages take together: ``about 3 min``, or how much of it is known."""
    known = [stage.seconds for stage in computed if stage.seconds is not None]
    if all(map(_short, computed)):
        return "nothing has to be computed"
    rough = any(stage.rough for stage in computed if stage.seconds is not None)
    least = sum(stage.seconds is None and not _short(stage) for stage in computed)
    if not known or (least and sum(known) < TELLING_SECONDS):
        some = "none was" if not known else "not all were"
        return f"how long they take is not known: {some} computed on this machine yet"
    text = f"{'at least' if least else 'about'} {span(sum(known))}"
    return f"{text}, as other models took" if rough and not least else text


def run_left(plan: Mapping[str, PlannedStage], running: str, left: float) -> str:
    """``, run 3 min``: what is left with what follows the stage that runs; nothing where that is all, or is unknown.

    Args:
        left: seconds of the stage itself.
    """
    names = list(plan)
    if running not in plan:
        return ""
    following = [plan[name] for name in names[names.index(running) + 1 :] if not plan[name].cached]
    if not following:
        return ""
    known = [stage.seconds for stage in following if stage.seconds is not None]
    if not known:
        return ""
    if len(known) < sum(not _short(stage) for stage in following):
        return f", run more than {span(left + sum(known))}"
    return f", run {span(left + sum(known))}"


def _short(stage: PlannedStage) -> bool:
    """Whether it takes seconds in any case."""
    return stage.id == "report"
