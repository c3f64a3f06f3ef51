"""The trials of a search, kept in its folder as Optuna's journal, and what to try next.

What is proposed depends on the trials so far and on the seed alone, never on how often the search was interrupted: each
proposal has a sampler of its own, seeded by its number. A trial that was being run when the search ended is run again.
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
from pipelines.runs.trial import COMPLETE, GOALS, PRUNED, Measured, excess
from pipelines.search.options import RANDOM, SearchOptions
from pipelines.search.proposals import Key, Params, key, spread, startup, unseen
from stages.errors import InputError, UnavailableError
from stages.outside import records

FILE, NAME = "study.journal", "search"
"""The journal, and the study in it, for whoever opens it with Optuna."""
_SPACE, _ANSWER, _REPEATS = "space", "answer", "repeats"
"""Attributes: of the study what it searches; of a trial what came out, and that it is none."""
_TRIES = 16
"""Proposals that may repeat a config before one that was not tried is taken by chance."""


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
        with self._quiet():
            self._study.sampler = self._sampler(0)  # it hears of answers too
        if not trials:
            self._study.set_user_attr(_SPACE, digest)
            for params in spread(axes, startup(axes, options.n_trials), options.seed):
                self._study.enqueue_trial(params)
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
                self._study.enqueue_trial(params)
                return self._ask()
        return None

    def propose(self) -> Proposal | None:
        """A config that was not tried yet; ``None`` if there is none left."""
        for _ in range(_TRIES):
            proposal = self._ask(new=True)
            if proposal is not None:
                return proposal
        params = unseen(self._axes, self._numbers, self._options.seed + len(self._numbers))
        if params is None:
            return None
        self._study.enqueue_trial(params)
        return self._ask(new=True)

    def tell(self, proposal: Proposal, measured: Measured) -> None:
        """Keep what came out of a proposal."""
        frozen = self._study.get_trials(deepcopy=False)[proposal.trial]
        trial = self._optuna.trial.Trial(self._study, frozen._trial_id)
        trial.set_user_attr(_ANSWER, dataclasses.asdict(measured))
        limits = self._options.asked.limits
        if limits:
            over = [excess(n, measured.values[n], limit) for n, limit in limits.items() if n in measured.values]
            trial.set_constraint("limits", max(over, default=0.0))
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

    def _ask(self, *, new: bool = False) -> Proposal | None:
        """The next trial of the journal; ``None`` if it repeats a config and is to be ``new``."""
        with self._quiet():
            self._study.sampler = self._sampler(len(self._study.get_trials(deepcopy=False)))
            trial = self._study.ask(self._distributions)
        if new and key(self._axes, trial.params) in self._numbers:
            trial.set_user_attr(_REPEATS, True)
            with self._quiet():
                self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)
            return None
        return Proposal(self._number(trial.params), dict(trial.params), trial.number)

    def _number(self, params: Params) -> int:
        return self._numbers.setdefault(key(self._axes, params), len(self._numbers))

    def _trials(self) -> list[Any]:
        """Those that are some: begun, with all of their values, and no repetition."""
        names = set(self._distributions)
        return [
            trial
            for trial in self._study.get_trials(deepcopy=False)
            if set(trial.params) == names and not trial.user_attrs.get(_REPEATS) and not self._is(trial, "WAITING")
        ]

    def _is(self, trial: Any, state: str) -> bool:
        return bool(trial.state == self._optuna.trial.TrialState[state])

    def _sampler(self, number: int) -> Any:
        seed = self._options.seed * 1_000_003 + number
        if self._options.sampler == RANDOM:
            return self._optuna.samplers.RandomSampler(seed=seed)
        return self._optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=startup(self._axes, self._options.n_trials),
            multivariate=True,
            constant_liar=self._options.n_jobs > 1,
        )

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
