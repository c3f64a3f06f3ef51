"""A search without Hydra: propose configs, have them run, keep the answers, and show which ones none beats."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipelines.config.space import Axis
from pipelines.runs.tables import WIDTH, print_table, stdout_console
from pipelines.runs.trial import COMPLETE, FAILED, GOALS, PRUNED, Measured
from pipelines.search.options import SearchOptions
from pipelines.search.proposals import Params
from pipelines.search.study import Proposal, Study, Tried
from pipelines.system import locks
from pipelines.system.files import write_text
from pipelines.system.output import say
from stages.errors import ExitCode, InputError, StoreError
from stages.report import pareto
from stages.report.tables import NOTHING, Table

RESULT, PAGE, LOCK = "search.json", "pareto.html", ".search.lock"
Launch = Callable[[Sequence[Sequence[str]], int], Sequence[Measured]]
"""Runs jobs, given the overrides of each and the number of the first, and returns their answers."""


def digest(axes: Sequence[Axis], fixed: Sequence[str], options: SearchOptions) -> str:
    """What tells a search from another: what is tried and how it is judged, not how much of it or where."""
    asked = options.asked
    told = [[repr(axis) for axis in axes], sorted(fixed), asked.flag, options.sampler, options.seed]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def search(
    folder: Path, axes: Sequence[Axis], fixed: Sequence[str], options: SearchOptions, launch: Launch
) -> tuple[int, Path]:
    """Try configs until there are ``n_trials``, those of earlier calls included; the exit code and the page.

    Args:
        folder: where the study is kept.
        fixed: the overrides that all trials have.

    Raises:
        InputError: the folder has another search, or another process is at this one.
    """
    with _alone(folder):
        study = Study(folder, axes, options, digest(axes, fixed, options))
        if study.count:
            say(f"the search in {folder} continues: {study.count} of {options.n_trials} configs were begun")
        waiting = study.unfinished()
        while batch := _batch(study, waiting, options):
            jobs = [[*fixed, *_overrides(axes, proposal.params)] for proposal in batch]
            answers = launch(jobs, batch[0].number)
            for proposal, measured in zip(batch, answers, strict=True):
                study.tell(proposal, measured)
                words = " ".join(_overrides(axes, proposal.params))
                say(f"trial {proposal.number + 1} of {options.n_trials} ({words}): {told(measured, options.goals)}")
            _write(folder, axes, options, study.tried())
        tried = study.tried()
        if study.count < options.n_trials:
            say(f"all {study.count} configs of the search space were tried")
        return _finish(folder, axes, options, tried)


def best(tried: Sequence[Tried], goals: Sequence[str]) -> list[Tried]:
    """Those that no other one beats: as good in every goal and better in one. In the order of the first goal."""
    complete = [one for one in tried if one.measured is not None and one.measured.state == COMPLETE]
    costs = {one.number: [_cost(one.measured, name) for name in goals] for one in complete if one.measured}

    def beaten(mine: list[float]) -> bool:
        return any(other != mine and all(o <= m for o, m in zip(other, mine, strict=True)) for other in costs.values())

    return sorted((one for one in complete if not beaten(costs[one.number])), key=lambda one: costs[one.number])


def told(measured: Measured, goals: Sequence[str]) -> str:
    """An answer in words."""
    if measured.state == COMPLETE:
        return ", ".join(f"{GOALS[name].title} {measured.values[name]:.{GOALS[name].digits}f}" for name in goals)
    return f"{'ended early' if measured.state == PRUNED else 'failed'}: {measured.why}"


def table(axes: Sequence[Axis], goals: Sequence[str], chosen: Sequence[Tried]) -> Table:
    """The configs that none beats, with what they reach."""
    rows = []
    for one in chosen:
        assert one.measured is not None
        cells = [_overrides([axis], one.params)[0].partition("=")[2] for axis in axes]
        numbers = [_number(one.measured, name) for name in goals]
        rows.append([str(one.number + 1), *cells, *numbers, one.measured.run])
    names = [axis.key.rpartition(".")[2] for axis in axes]
    return Table("Configs that none beats", ["Trial", *names, *(GOALS[name].title for name in goals), "Run"], rows)


def _cost(measured: Measured, goal: str) -> float:
    value = measured.values[goal]
    return value if GOALS[goal].least else -value


def _number(measured: Measured, goal: str) -> str:
    digits, value, bounds = GOALS[goal].digits, measured.values.get(goal), measured.bounds.get(goal)
    if value is None:
        return NOTHING
    text = f"{value:.{digits}f}"
    return f"{text} ({bounds[0]:.{digits}f} to {bounds[1]:.{digits}f})" if bounds and len(bounds) == 2 else text


def _overrides(axes: Sequence[Axis], params: Params) -> list[str]:
    return [axis.override(params[axis.key]) for axis in axes]


def _batch(study: Study, waiting: list[Proposal], options: SearchOptions) -> list[Proposal]:
    """What runs next, at once: what was interrupted, what failed in an earlier call, and what is new."""
    batch: list[Proposal] = []
    while len(batch) < options.n_jobs:
        if waiting:
            proposal: Proposal | None = waiting.pop(0)
        elif (proposal := study.again()) is None and study.count < options.n_trials:
            proposal = study.propose()
        if proposal is None:
            break
        batch.append(proposal)
    return batch


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from the study."""
    try:
        descriptor = locks.acquire(folder / LOCK)
    except OSError as error:
        raise StoreError(
            f"cannot write to {folder}: {error.strerror}; set run.artifacts=FOLDER to one that is writable"
        ) from error
    if descriptor is None:
        raise InputError(f"the search in {folder} is being run by another process; wait for it, or end it")
    try:
        yield
    finally:
        os.close(descriptor)


def _write(folder: Path, axes: Sequence[Axis], options: SearchOptions, tried: Sequence[Tried]) -> None:
    """The trials for programs: ``search.json``."""
    chosen = {one.number for one in best(tried, options.goals)}
    content = {
        "schema_version": 1,
        "goals": options.goals,
        "limits": options.asked.limits,
        "trials": [
            {
                "trial": one.number + 1,
                "overrides": _overrides(axes, one.params),
                "state": "running" if one.measured is None else one.measured.state,
                "best": one.number in chosen,
                **({} if one.measured is None else {
                    "why": one.measured.why, "run": one.measured.run,
                    "values": one.measured.values, "intervals": one.measured.bounds,
                }),
            }
            for one in tried
        ],
    }  # fmt: skip
    write_text(folder / RESULT, json.dumps(content, indent=1))


def _finish(folder: Path, axes: Sequence[Axis], options: SearchOptions, tried: Sequence[Tried]) -> tuple[int, Path]:
    _write(folder, axes, options, tried)
    states = [one.measured.state for one in tried if one.measured is not None]
    counts = {COMPLETE: "measured", PRUNED: "ended at a limit", FAILED: "failed"}
    say("; ".join(f"{states.count(state)} {words}" for state, words in counts.items() if state in states))
    if FAILED in states:
        say("what failed is tried again by the same command")
    chosen = best(tried, options.goals)
    if not chosen:
        say("no config holds the limits" if PRUNED in states else "no config could be measured")
        return ExitCode.STAGE_FAILED if FAILED in states else ExitCode.GATE_FAILED, folder / RESULT
    print_table(table(axes, options.goals, chosen), stdout_console(WIDTH))
    points = [point for one in tried if one.measured is not None for point in one.measured.points]
    if not points:  # latency or accuracy was no part of it
        return ExitCode.DONE, folder / RESULT
    write_text(folder / PAGE, pareto.page(points))
    return ExitCode.DONE, folder / PAGE
