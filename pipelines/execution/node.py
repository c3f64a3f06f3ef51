"""A run's graph: nodes, how they feed each other, and the key of what each would make."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

from pipelines.execution.interpreter import OWN, Interpreter
from pipelines.store.entries import Key
from stages.artifacts import Artifact
from stages.catalog import stage_class
from stages.codec import to_json
from stages.contract import input_digests

TIMES = "times"
"""The table of the latencies, which a run is said to be timed by."""


@dataclass(frozen=True)
class Ref:
    """The result of another node, as an input."""

    node: str


Input = Union[Ref, Artifact, Sequence[Ref], None]  # noqa: UP007 (Python 3.10 evaluates it)


@dataclass(frozen=True)
class Work:
    """How much a stage has to do for a model, to tell from what it took for another one."""

    model: str
    amount: float | None = None
    """In a unit that all nodes of the stage share; ``None``: the model's architecture is not known."""
    parameters: float | None = None
    """What the size of its result grows with."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One stage with its options and where its inputs come from."""

    id: str
    stage: str
    options: Any
    origins: Mapping[str, str] = field(default_factory=dict)
    """Field of the options -> the config key it was taken from (``config/stage_options.py``); no part of the key."""
    inputs: Mapping[str, Input] = field(default_factory=dict)
    threads: int = 1
    cores: int = 1
    """CPU cores for processes that it starts; no part of the key."""
    seeded: bool = False
    """Whether the seed changes the result; only then it is part of the key."""
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    """What the stage runs on beside its packages: a backend's versions, device, driver."""
    reuse: bool = True
    """``False``: compute it again in every run (the report)."""
    timed: bool = False
    """A measurement of time: taken from the store only as `Runner.timings` says."""
    table: str = TIMES
    """Of a timed stage: what is taken together. Measurements of one table are of one run; another stands by itself."""
    device: str = "cpu"
    """Where a timed stage measures: ``cpu`` or ``cuda``; nothing else is measured there meanwhile."""
    partial: bool = False
    """Lists of inputs may lack what failed (timings of one precision, the report)."""
    empty: bool = False
    """``partial``, and a list may lack all there is (the report)."""
    backend: str | None = None
    precision: str | None = None
    work: Work | None = None
    """``None`` of a stage that does the same for every model; no part of the key."""

    @property
    def key_name(self) -> str:
        """The stage's name as its keys, and so the folders of the store, have it."""
        return str(stage_class(self.stage).name)

    def upstream(self) -> list[str]:
        """The ids of the nodes this one needs."""
        found: list[str] = []
        for value in self.inputs.values():
            if isinstance(value, Ref):
                found.append(value.node)
            elif isinstance(value, Sequence):
                found += [ref.node for ref in value]
        return found

    def resolve(self, artifacts: Mapping[str, Artifact]) -> Any:
        """The stage's ``Inputs`` from what there is; lists of a partial node may come out shorter."""
        values: dict[str, Any] = {}
        for name, value in self.inputs.items():
            if isinstance(value, Ref):
                values[name] = artifacts[value.node]
            elif isinstance(value, Artifact) or value is None:
                values[name] = value
            else:
                values[name] = [artifacts[ref.node] for ref in value if ref.node in artifacts]
        return stage_class(self.stage).Inputs(**values)

    def key(self, inputs: object, seed: int, python: Interpreter = OWN) -> Key:
        """The key of the result: everything that may change it, and nothing else.

        Args:
            python: the Python that the stage runs on, whose packages count.
        """
        cls = stage_class(self.stage)
        unkeyed = getattr(cls, "unkeyed", ())
        later = {f.name: f.default for f in dataclasses.fields(self.options) if f.name in getattr(cls, "later", ())}
        """Options that came later: at their default they count for nothing, so that older results are found."""
        options = {
            k: v for k, v in to_json(self.options).items() if k not in unkeyed and not (k in later and v == later[k])
        }
        parts: dict[str, Any] = {
            "stage": self.stage,
            "version": cls.version,
            "options": options,
            "inputs": dict(input_digests(inputs)),
            "fingerprint": {
                **{name: python.version_of(name) or "not installed" for name in cls.packages},
                **self.fingerprint,
            },
        }
        if self.seeded:
            parts["seed"] = seed
        return Key(cls.name, parts)
