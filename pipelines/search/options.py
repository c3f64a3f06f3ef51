"""The fields of ``hydra.sweeper``, checked (``conf/hydra/sweeper/optuna.yaml``)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pipelines.runs.trial import GOALS, Asked
from stages.errors import InputError
from stages.options.suggest import close_to, suggestion

TPE, RANDOM = "tpe", "random"
SAMPLERS = (TPE, RANDOM)
_MOST = 10_000


@dataclass
class SearchOptions:
    """See the file. Raises InputError for a value that does not fit."""

    params: dict[str, Any] | None = None
    n_trials: int = 20
    n_jobs: int = 1
    goals: list[str] = field(default_factory=lambda: ["speedup", "drop"])
    limits: dict[str, float | None] = field(default_factory=dict)
    backend: str | None = None
    precision: str | None = None
    sampler: str = TPE
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_trials", "n_jobs"):
            _require(_is_whole(getattr(self, name)) and 1 <= getattr(self, name) <= _MOST, name, "a number from 1 on")
        _require(_is_whole(self.seed) and self.seed >= 0, "seed", "a number from 0 on")
        _require(self.sampler in SAMPLERS, "sampler", " or ".join(SAMPLERS))
        _require(isinstance(self.goals, list) and self.goals and len(set(map(str, self.goals))) == len(self.goals),
                 "goals", f"a list of some of {', '.join(GOALS)}, each once")  # fmt: skip
        self.limits = self.limits or {}
        _require(isinstance(self.limits, dict), "limits", "a section")
        for name in (*self.goals, *self.limits):
            if name not in GOALS:
                hint = suggestion(close_to(str(name), GOALS))
                raise InputError(f"hydra.sweeper: there is no number {name}{hint} (there are {', '.join(GOALS)})")
        for name, limit in self.limits.items():
            fits = isinstance(limit, (int, float)) and not isinstance(limit, bool) and math.isfinite(limit)
            _require(limit is None or fits, f"limits.{name}", "a number, or null")
        _require(self.params is None or isinstance(self.params, dict), "params", "a section of key: 'choice(...)'")
        for name in ("backend", "precision"):
            _require(isinstance(getattr(self, name), (str, type(None))), name, "a name, or null")

    @property
    def asked(self) -> Asked:
        """What each trial is asked."""
        limits = {name: float(limit) for name, limit in self.limits.items() if limit is not None}
        return Asked(list(self.goals), limits, self.backend, self.precision)


def made(content: Mapping[str, Any]) -> SearchOptions:
    """The options from a config. Raises InputError, also for a key that there is not."""
    names = [f.name for f in fields(SearchOptions)]
    if unknown := [name for name in content if name not in names]:
        hint = suggestion(close_to(unknown[0], names))
        raise InputError(f"hydra.sweeper.{unknown[0]}: there is no such key{hint} (there are {', '.join(names)})")
    return SearchOptions(**content)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require(fits: object, name: str, what: str) -> None:
    if not fits:
        raise InputError(f"hydra.sweeper.{name} must be {what}")
