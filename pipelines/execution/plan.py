"""What a run would do, without doing it: each stage cached, or to run and why, from the records in the store.

Only the records of the entries are read, never their files, so that a plan takes no time even for large models; a run
checks the files it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipelines.execution import work
from pipelines.execution.interpreter import OWN, Interpreter
from pipelines.execution.key_changes import changes, distance
from pipelines.execution.node import TIMES, Node, Ref
from pipelines.store.entries import Entry, Key, Record
from pipelines.store.local import Store
from pipelines.system import provenance
from stages.artifacts import Artifact
from stages.catalog import stage_class
from stages.codec import to_json
from stages.errors import StoreError

FRESH, AUTO, ANY = "fresh", "auto", "any"
"""When timings are taken from the store: never, if all of them still stand (`timings_stand`), or always."""


TRY_STEPS = 50
"""Of a training that is only to show that everything works."""


@dataclass(frozen=True)
class Step:
    """One node of a planned run."""

    node: Node
    cached: bool
    reasons: list[str] = field(default_factory=list)
    """Why it has to run; empty if it is cached."""
    key: Key | None = None
    """``None`` where an input is not known yet."""
    entry: Entry | None = None
    seconds: float | None = None
    size: int | None = None
    """Estimates, in seconds and bytes, from what an earlier result took; ``None`` where nothing is known."""
    rough: bool = False
    """``seconds`` is that of another model, scaled, or of another machine."""
    follows: bool = False
    """It runs because another does; if that one's result comes out as before, this one is taken from the store."""
    checkpoint: bool = False
    """An interrupted try left something to continue from."""


class Records:
    """The records of a store, each stage's read once: a plan asks for them node by node."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found: dict[str, list[Record]] = {}

    def of(self, stage: str) -> list[Record]:
        """As `Store.records`."""
        if stage not in self._found:
            self._found[stage] = self._store.records(stage)
        return self._found[stage]


def survey(
    nodes: Sequence[Node],
    store: Store,
    seed: int,
    *,
    timings: str = AUTO,
    known: Mapping[str, Artifact] | None = None,
    python: Interpreter = OWN,
    records: Records | None = None,
) -> list[Step]:
    """A step for each node, in their order.

    Args:
        known: the results of nodes before them.
        python: the Python that the stages run on.
        records: those of the store, where they are read anyway.
    """
    records = records or Records(store)
    steps: dict[str, Step] = {}
    artifacts: dict[str, Artifact] = dict(known or {})
    for node in nodes:
        step = _step(node, artifacts, store, records, seed, python)
        steps[node.id] = step
        if step.entry is not None:
            artifacts[node.id] = step.entry.artifact
    surveyed = list(steps.values())
    reasons = {name: _measured_again(surveyed, timings, name) for name in _tables(surveyed)}
    for name, step in steps.items():
        if step.node.timed and step.cached and (reason := reasons[step.node.table]):
            steps[name] = replace(step, cached=False, reasons=[reason])
    return list(steps.values())


def estimate(steps: Sequence[Step], store: Store, records: Records | None = None) -> list[Step]:
    """The steps with what they are likely to take, by earlier results of the same nodes on this kind of machine."""
    hardware = provenance.hardware()
    records = records or Records(store)
    return [step if step.cached else _estimated(step, store, records, hardware) for step in steps]


def shorter(node: Node) -> str | None:
    """The override that makes a training short, e.g. ``compression.steps=50``; ``None`` of other stages."""
    key, steps = node.origins.get("steps"), getattr(node.options, "steps", None)
    return f"{key}={TRY_STEPS}" if key and steps is not None and steps > TRY_STEPS else None


def timings_stand(steps: Sequence[Step], table: str = TIMES) -> bool:
    """Whether every timing of a table was taken together, on this machine as it is, of what the run would build."""
    return _measured_again(steps, AUTO, table) == ""


def _tables(steps: Sequence[Step]) -> list[str]:
    return list(dict.fromkeys(step.node.table for step in steps if step.node.timed))


def _measured_again(steps: Sequence[Step], timings: str, table: str) -> str:
    """Why the cached timings of a table are not taken; empty if they are."""
    timed = [step for step in steps if step.node.timed and step.node.table == table]
    if timings == ANY or not timed:
        return ""
    if timings == FRESH:
        return "run.reuse_latency=false: measured in every run"
    before = _ancestors([step.node for step in timed], {step.node.id: step.node for step in steps})
    for step in steps:
        if not step.cached and ((step.node.timed and step.node.table == table) or step.node.id in before):
            return f"timings of one table are taken in one run, and {step.node.id} runs"
    here = provenance.machine()
    entries = [step.entry for step in timed if step.entry is not None]
    if not here or any(entry.machine != here for entry in entries):
        return "the machine was started anew since it was measured, or is another"
    if len({entry.run for entry in entries}) > 1:
        return "timings of one table are taken in one run, and these are of several"
    return objection(steps, table)


def objection(steps: Sequence[Step], table: str = TIMES) -> str:
    """What a stage has against its own stored timing: that it was disturbed, or leaves a gate undecided."""
    for step in steps:
        own = step.node.timed and step.node.table == table
        objects = getattr(stage_class(step.node.stage), "objection", None) if own else None
        if objects is not None and step.entry is not None:
            reason: str = objects(step.entry.artifact, step.node.options)
            if reason:
                return f"{step.node.id}: {reason}"
    return ""


def _ancestors(nodes: Sequence[Node], by_id: Mapping[str, Node]) -> Collection[str]:
    found: set[str] = set()
    open_ = [name for node in nodes for name in node.upstream()]
    while open_:
        name = open_.pop()
        if name not in found:
            found.add(name)
            open_ += by_id[name].upstream() if name in by_id else []
    return found


def _step(
    node: Node, artifacts: Mapping[str, Artifact], store: Store, records: Records, seed: int, python: Interpreter
) -> Step:
    waits = [name for name in dict.fromkeys(node.upstream()) if name not in artifacts]
    if waits:
        # Its inputs are not there yet, so neither is the whole key; options and versions can be compared already.
        own = _own_changes(node, records, seed, python)
        verb = "runs" if len(waits) == 1 else "run"
        return Step(node, False, [f"{' and '.join(waits)} {verb}", *own], follows=True)
    key = node.key(node.resolve(artifacts), seed, python)
    unfinished = store.works / f"{key.stage}-{key.digest}"
    left = unfinished.is_dir() and any(unfinished.iterdir())
    if not node.reuse:
        return Step(node, False, ["written in every run"], key)
    try:
        entry = store.peek(key)
    except StoreError as error:
        return Step(node, False, [str(error)], key, checkpoint=left)
    if entry is not None:
        return Step(node, True, [], key, entry)
    old = _nearest(node, key.parts, records)
    if old is None:
        return Step(node, False, ["there is no result of it yet"], key, checkpoint=left)
    return Step(node, False, changes(old["parts"], key.parts, _feeds(node), node.origins), key, checkpoint=left)


def _own_changes(node: Node, records: Records, seed: int, python: Interpreter) -> list[str]:
    parts = _parts_without_inputs(node, seed, python)
    old = _nearest(node, parts, records)
    if old is None:
        return []
    return changes({**old["parts"], "inputs": {}}, parts, {}, node.origins)


def _parts_without_inputs(node: Node, seed: int, python: Interpreter) -> dict[str, Any]:
    alone = replace(node, inputs={})
    return dict(alone.key(_NoInputs(), seed, python).parts)


@dataclass(frozen=True)
class _NoInputs:
    pass


def _nearest(
    node: Node, parts: Mapping[str, Any], records: Records, fits: Callable[[Record], bool] = lambda record: True
) -> Record | None:
    """The record of the same node that differs least; of equals, the newest."""
    own = [r for r in records.of(node.key_name) if r.get("node") == node.id and fits(r)]
    return min(own, key=lambda r: distance(r["parts"], parts), default=None)  # min keeps the first of equals


def _feeds(node: Node) -> dict[str, str]:
    """Name of an input, as in the key -> what made it, in words."""
    found: dict[str, str] = {}
    for name, value in node.inputs.items():
        if isinstance(value, Ref):
            found[name] = f"the result of {value.node}"
        elif isinstance(value, Artifact):
            found[name] = "the model that was given"
        elif value is not None:
            found |= {f"{name}[{i}]": f"the result of {ref.node}" for i, ref in enumerate(value)}
    return found


def _estimated(step: Step, store: Store, records: Records, hardware: str) -> Step:
    """What the nearest earlier result of this machine says, scaled to the options and the model; else a rough guess."""
    node = step.node
    parts = step.key.parts if step.key is not None else _parts_without_inputs(node, 0, OWN)  # only to find the nearest
    options = to_json(node.options)
    old = _nearest(node, parts, records, lambda record: work.comparable(node, record, hardware))
    if old is None:
        seconds = work.guess(node, options)
        return replace(step, seconds=seconds, rough=True) if seconds is not None else step
    folder = store.entries / old["stage"] / old["key"]
    grown = work.growth(node, old)
    before = folder_size(folder) if folder.is_dir() else None
    return replace(
        step,
        seconds=work.seconds(node, options, old),
        size=None if before is None else round(before * grown),
        rough=not work.same_model(node, old),
    )


def folder_size(folder: Path) -> int:
    """Bytes of the files under ``folder``."""
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file() or p.is_symlink())
