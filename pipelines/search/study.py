"""The trials of a search, kept in its folder as Optuna's journal, and what to try next.

What is proposed depends on the trials so far and on the seed alone, never on how often the search was interrupted: each
proposal has a sampler of its own, seeded by its number. A trial that was being run when the search ended is run again.

With several goals each proposal is for one weighting of them, by turns: a single number is learned from fewer trials
than a front, and the ends of the front are searched like its middle. The number is the largest weighted distance to the
best of each goal so far.

Source: J. Knowles, "ParEGO: a hybrid algorithm with on-line landscape approximation for expensive multiobjective
optimization problems", IEEE Transactions on Evolutionary Computation 10 (2006), 50-66; here with TPE.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.config.space import Axis
from pipelines.runs.trial import COMPLETE, FAILED, GOALS, PRUNED, Measured, excess
from pipelines.search.options import RANDOM, SearchOptions
from pipelines.search.proposals import Key, Params, key, spread, startup, unseen
from stages.errors import InputError, UnavailableError
from stages.outside import records

FILE, NAME = "study.journal", "search"
"""The journal, and the study in it, for whoever opens it with Optuna."""
_SPACE, _STARTUP, _ANSWER = "space", "startup", "answer"
"""Attributes: of the study what it searches and with how many trials it begins; of a trial what came out."""
_TRIES = 16
"""Proposals that may repeat a config before one that was not tried is taken by chance."""
_FAVOURED = 0.9
"""Weight of one goal, where it is its turn."""
_BROKEN = 10.0
"""What a broken limit costs; distances to the best are from 0 to 1."""


@dataclass(frozen=True)
class Proposal:
    """A config to be tried: its number among the configs of the search, and its trial in the journal."""

    number: int
    params: Params
    trial: int


@dataclass(frozen=True)
class Tried:
    """A config that was tried, or is (``measured`` is ``None``)."""

    number: int
    params: Params
    measured: Measured | None


class Study:
    """What is known, and what to try next. Only one process may have it at a time."""

    def __init__(self, folder: Path, axes: Sequence[Axis], options: SearchOptions, digest: str) -> None:
        """Open the study in a folder, or begin one.

        Raises:
            InputError: there is another one, or what is there cannot be read.
            UnavailableError: Optuna is not installed.
        """
        self._optuna = _optuna()
        self._axes = list(axes)
        self._options = options
        self._numbers: dict[Key, int] = {}
        self._distributions = {axis.key: self._distribution(axis) for axis in axes}
        path = folder / FILE
        _mend(path)
        # Least or most by goal; a limit makes a trial infeasible, it is no goal.
        directions = ["minimize" if GOALS[name].least else "maximize" for name in options.goals]
        try:
            self._storage = self._open(path)
            self._study = self._optuna.create_study(
                storage=self._storage, study_name=NAME, directions=directions, load_if_exists=True
            )
            attrs = self._study.user_attrs
            if attrs.setdefault(_SPACE, digest) != digest:
                raise InputError(
                    f"{folder} has the study of another search; name another folder with hydra.sweep.dir=FOLDER"
                )
            trials = self._trials()
        except InputError:
            raise
        except Exception as error:  # whatever a damaged journal raises, assertions among it
            raise InputError(
                f"{path} cannot be read ({type(error).__name__}: {error}); remove it to begin anew: finished stages "
                "are kept"
            ) from error
        if not trials:
            self._study.set_user_attr(_SPACE, digest)
            self._study.set_user_attr(_STARTUP, startup(axes, options.n_trials))
        self._study.sampler = self._optuna.samplers.RandomSampler()  # proposals do not come from it
        self._first = spread(axes, int(self._study.user_attrs[_STARTUP]), options.seed)
        for trial in trials:
            self._number(trial.params)
        self._again = [t.params for t in trials if self._is(t, "FAIL")]

    @property
    def count(self) -> int:
        """Configs that were proposed."""
        return len(self._numbers)

    def unfinished(self) -> list[Proposal]:
        """What was being tried when the search was interrupted."""
        return [
            Proposal(self._number(t.params), dict(t.params), t.number) for t in self._trials() if self._is(t, "RUNNING")
        ]

    def again(self) -> Proposal | None:
        """One that failed when the search was run before; each once."""
        known = {key(self._axes, t.params) for t in self._trials() if not self._is(t, "FAIL")}
        while self._again:
            params = self._again.pop(0)
            if key(self._axes, params) not in known:
                return self._begin(params)
        return None

    def propose(self) -> Proposal | None:
        """A config that was not tried yet; ``None`` if there is none left."""
        seed = (self._options.seed * 1_000_003 + self.count) * _TRIES
        for params in self._first:
            if key(self._axes, params) not in self._numbers:
                return self._begin(params)
        for i in range(_TRIES):
            params = self._likely(seed + i)
            if key(self._axes, params) not in self._numbers:
                return self._begin(params)
        left = unseen(self._axes, self._numbers, seed)
        return None if left is None else self._begin(left)

    def tell(self, proposal: Proposal, measured: Measured) -> None:
        """Keep what came out of a proposal."""
        frozen = self._study.get_trials(deepcopy=False)[proposal.trial]
        trial = self._optuna.trial.Trial(self._study, frozen._trial_id)
        trial.set_user_attr(_ANSWER, dataclasses.asdict(measured))
        if self._options.asked.limits:
            trial.set_constraint("limits", self._beyond(measured))  # for whoever opens the journal with Optuna
        states = self._optuna.trial.TrialState
        if measured.state == COMPLETE:
            self._study.tell(trial, [measured.values[name] for name in self._options.goals])
        else:
            self._study.tell(trial, state=states.PRUNED if measured.state == PRUNED else states.FAIL)

    def tried(self) -> list[Tried]:
        """Every config, in the order in which they were proposed, with the last answer."""
        found: dict[int, Tried] = {}
        for trial in self._trials():
            number, content = self._number(trial.params), trial.user_attrs.get(_ANSWER)
            measured = None if content is None else records.made(Measured, content, f"trial {number} of {FILE}")
            if measured is not None or number not in found:
                found[number] = Tried(number, dict(trial.params), measured)
        return [found[number] for number in sorted(found)]

    def _begin(self, params: Params) -> Proposal:
        """Put a trial into the journal, in one line: one that is there has all of its values."""
        states = self._optuna.trial.TrialState
        self._study.add_trial(
            self._optuna.trial.create_trial(state=states.RUNNING, params=params, distributions=self._distributions)
        )
        number = len(self._study.get_trials(deepcopy=False)) - 1
        return Proposal(self._number(params), dict(params), number)

    def _likely(self, seed: int) -> Params:
        """What the sampler proposes for the weighting whose turn it is."""
        samplers, trials = self._optuna.samplers, self._optuna.trial
        random = samplers.RandomSampler(seed=seed)
        with self._quiet():
            study = self._optuna.create_study(
                sampler=random
                if self._options.sampler == RANDOM
                else samplers.TPESampler(seed=seed, n_startup_trials=1, multivariate=True, constant_liar=True)
            )
            for one, cost in self._costs():
                state = trials.TrialState.RUNNING if cost is None else trials.TrialState.COMPLETE
                study.add_trial(trials.create_trial(
                    state=state, params=one.params, distributions=self._distributions, value=cost
                ))  # fmt: skip
            params: Params = study.ask(self._distributions).params
        return params

    def _costs(self) -> list[tuple[Tried, float | None]]:
        """What each config costs by the weighting whose turn it is: 0 is the best of all goals, ``None`` not known yet.
        What failed is left out."""
        tried = [one for one in self.tried() if one.measured is None or one.measured.state != FAILED]
        goals, turn = self._options.goals, self.count % (len(self._options.goals) + 1)
        others = (1 - _FAVOURED) / max(len(goals) - 1, 1)
        weights = [1 / len(goals) if turn == len(goals) else _FAVOURED if i == turn else others
                   for i in range(len(goals))]  # fmt: skip
        values = {one.number: [(1 if GOALS[name].least else -1) * one.measured.values[name] for name in goals]
                  for one in tried if one.measured is not None and one.measured.state == COMPLETE}  # fmt: skip
        ends = [(min(column), max(column)) for column in zip(*values.values(), strict=True)]

        def cost(one: Tried) -> float | None:
            if one.measured is None:
                return None
            if one.number not in values:
                return _BROKEN + self._beyond(one.measured)
            shares = [(v - low) / (high - low) if high > low else 0.0
                      for v, (low, high) in zip(values[one.number], ends, strict=True)]  # fmt: skip
            return max(weight * share for weight, share in zip(weights, shares, strict=True))

        return [(one, cost(one)) for one in tried]

    def _beyond(self, measured: Measured) -> float:
        """How far a limit is broken, at most."""
        limits = self._options.asked.limits
        return max((excess(n, measured.values[n], limit) for n, limit in limits.items() if n in measured.values),
                   default=0.0)  # fmt: skip

    def _number(self, params: Params) -> int:
        return self._numbers.setdefault(key(self._axes, params), len(self._numbers))

    def _trials(self) -> list[Any]:
        """Those of the journal; of one that somebody else began with Optuna, not all values may be there."""
        names = set(self._distributions)
        return [trial for trial in self._study.get_trials(deepcopy=False) if set(trial.params) == names]

    def _is(self, trial: Any, state: str) -> bool:
        return bool(trial.state == self._optuna.trial.TrialState[state])

    def _distribution(self, axis: Axis) -> Any:
        kinds = self._optuna.distributions
        if axis.choices:
            return kinds.CategoricalDistribution(axis.choices)
        if axis.whole:
            return kinds.IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=int(axis.step or 1))
        return kinds.FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)

    def _open(self, path: Path) -> Any:
        from optuna.storages.journal import JournalFileBackend, JournalStorage

        class Held:
            """The folder's lock is ours already; one of Optuna's would outlive a process that is killed."""

            def acquire(self) -> bool:
                return True

            def release(self) -> None:
                pass

        with self._quiet():
            return JournalStorage(JournalFileBackend(str(path), lock_obj=Held()))

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Parts of Optuna that are called experimental there are used on purpose."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            yield


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UnavailableError(
            "hydra/sweeper=optuna needs Optuna, which is not installed; pip install 'detpress[search]', or leave it out"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _mend(path: Path) -> None:
    """Take away a last line that a killed process left half written: with another behind it nobody could read on."""
    try:
        with path.open("r+b") as stream:
            content = stream.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                stream.truncate(whole)
                os.fsync(stream.fileno())
    except FileNotFoundError:
        return
