"""MLflow's Model Registry: the engines of one registered model, the champion among them, and the promotion history.

A version is a bundle (`detpress bundle`) among the files of the engine's logged model, with its model card, its bill of
materials, the FP32 checkpoint it was made from and the evidence of its promotion. ``champion`` and ``challenger`` are
MLflow's aliases. Moving one is a single write; each move is first recorded as a tag of the registered model,
``history.NNNN``. If the process dies in between, the entry is ignored, because the alias never moved.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config.options.tracking import TrackingOptions
from pipelines.registry.moves import PROMOTE, ROLLBACK, Move, effective, predecessor
from pipelines.system.locks import signed
from pipelines.system.redact import redact_text
from pipelines.system.slug import matching
from pipelines.tracking.client import connect, store_uri
from pipelines.tracking.models import find
from stages.errors import InputError, StoreError
from stages.outside import records
from stages.outside.text import url as told
from stages.outside.text import urls

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
BUNDLE, CHECKPOINT, IMAGES = "bundle.zip", "checkpoint.pdparams", "images.npz"
_HISTORY = "history."
DESCRIBED = (
    "Engines that detpress compressed, each version with its bundle, its evidence beside the champion of its day and "
    "the run that built it. The alias `champion` is the engine in use, `challenger` the one measured last; the tags "
    "`history.*` are the promotions and rollbacks. `detpress champion` shows them."
)
"""Of the registered model."""
_DESCRIPTION = 4900  # characters; MLflow keeps 5000


@dataclass(frozen=True)
class Version:
    """One registered engine."""

    number: str
    run_id: str
    """The detpress run that made it."""
    location: str
    """Where its files are, as MLflow names it."""
    tags: Mapping[str, str] = field(default_factory=dict)


class Registry:
    """The versions of one registered model in the store that the options name."""

    def __init__(self, tracking: TrackingOptions, name: str, lock: Path) -> None:
        """``lock``: a file that every promotion on this machine locks for the instant of the move."""
        self.name = name
        self.uri = store_uri(tracking)
        self._lock = lock
        self._tracking = tracking
        self._connected: MlflowClient | None = None

    @property
    def client(self) -> MlflowClient:
        if self._connected is None:
            self._connected = connect(self._tracking)
        return self._connected

    # --- what there is ------------------------------------------------------------------------------------------

    def champion(self) -> Version | None:
        return self._alias(CHAMPION)

    def challenger(self) -> Version | None:
        return self._alias(CHALLENGER)

    def version(self, number: str) -> Version:
        """Raises InputError if there is none of that number."""
        versions = self.versions()
        for version in versions:
            if version.number == number:
                return version
        known = ", ".join(version.number for version in versions) or "none"
        raise InputError(f"{self.name} has no version {number} in MLflow's registry; there is {known}")

    def versions(self) -> list[Version]:
        """Newest first."""
        with mlflow_errors(self.uri):
            versions = self.client.search_model_versions(matching({"name": self.name}), max_results=1000)
        return sorted(map(_version, versions), key=lambda v: int(v.number), reverse=True)

    def moves(self) -> list[Move]:
        """How the champion came to be, oldest first; moves that were noted and never made are left out."""
        champion = self.champion()
        return effective([move for _, move in self._noted()], champion.number if champion else None)

    def fetch(self, version: Version, file: str, folder: Path) -> Path | None:
        """Bring a file of a version into ``folder``; ``None`` if the version has no such file."""
        with mlflow_errors(self.uri):
            from mlflow.artifacts import download_artifacts

            model = self.client.get_logged_model(version.tags["model_id"])
            if file not in {info.path for info in self.client.list_logged_model_artifacts(model.model_id)}:
                return None
            folder.mkdir(parents=True, exist_ok=True)
            uri = f"{version.location.rstrip('/')}/{file}"
            return Path(download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=self.uri))

    # --- what is done to it -------------------------------------------------------------------------------------

    def add(
        self, run_id: str, node: str, files: Sequence[Path], tags: Mapping[str, str], description: str = ""
    ) -> Version:
        """Register the engine that stage ``node`` of a run built, with ``files``; the challenger from now on.

        The run's version is taken, if it has one already.

        Raises:
            StoreError: MLflow does not have the run, or cannot be used.
        """
        before = next((v for v in self.versions() if v.run_id == run_id), None)
        with mlflow_errors(self.uri):
            run, model = self._logged(run_id, node)
            for path in files:
                self.client.log_model_artifact(model.model_id, str(path))
            if before is None:
                before = self._create(run, model, run_id, tags, description)
            else:
                self.client.update_model_version(self.name, before.number, description[:_DESCRIPTION])
            self.client.set_registered_model_alias(self.name, CHALLENGER, before.number)
        return before

    def promote(self, version: Version, *, over: str | None, forced: bool = False) -> None:
        """Make ``version`` the champion.

        Args:
            over: the champion that it was measured against; ``None``: there was none.

        Raises:
            StoreError: the champion is another by now, so the measurement says nothing.
        """
        self._move(PROMOTE, version.number, over, forced=forced)
        with mlflow_errors(self.uri):
            challenger = self.challenger()
            if challenger is not None and challenger.number == version.number:
                self.client.delete_registered_model_alias(self.name, CHALLENGER)

    def rollback(self) -> Move:
        """Make the champion's predecessor the champion again.

        Raises:
            InputError: there is no champion, or none before it.
        """
        now = self.champion()
        if now is None:
            raise InputError(f"{self.name} has no champion in MLflow's registry, so there is nothing to roll back")
        target = predecessor(self.moves())
        if target is None:
            raise InputError(
                f"{self.name}: there is no champion before version {now.number}; `detpress promote VERSION --force` "
                "names another"
            )
        self.version(target)  # it may have been deleted in MLflow
        return self._move(ROLLBACK, target, now.number)

    def _move(self, action: str, after: str, over: str | None, *, forced: bool = False) -> Move:
        with signed(self._lock), mlflow_errors(self.uri):
            champion = self.champion()
            before = champion.number if champion else None
            if before != over:
                raise StoreError(
                    f"{self.name}: the champion is version {before or 'none'} by now, not {over or 'none'}: somebody "
                    "else moved it meanwhile; run the command again"
                )
            move = Move(action, before, after, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), forced)
            number = max((n for n, _ in self._noted()), default=0) + 1
            self.client.set_registered_model_tag(self.name, f"{_HISTORY}{number:04}", json.dumps(move.__dict__))
            self.client.set_registered_model_alias(self.name, CHAMPION, after)
            return move

    # --- parts --------------------------------------------------------------------------------------------------

    def _create(self, run: Run, model: LoggedModel, run_id: str, tags: Mapping[str, str], description: str) -> Version:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(self.name, tags={"made_by": "detpress"}, description=DESCRIBED)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        version = self.client.create_model_version(
            self.name,
            source=model.artifact_location,
            run_id=run.info.run_id,
            tags={**tags, "run_id": run_id, "model_id": model.model_id},
            description=description[:_DESCRIPTION],
            model_id=model.model_id,
        )
        return _version(version)

    def _logged(self, run_id: str, node: str) -> tuple[Run, LoggedModel]:
        experiments = [e.experiment_id for e in self.client.search_experiments()]
        runs = self.client.search_runs(experiments, matching({"tags.run_id": run_id, "tags.node": "pipeline"}))
        model = find(self.client, runs[0].info.experiment_id, run_id, node) if runs else None
        if model is None:
            raise StoreError(
                f"MLflow at {told(self.uri)} does not have the engine of run {run_id}; once it is reached, the "
                "next run sends what was left; then run the command again"
            )
        return runs[0], model

    def _alias(self, alias: str) -> Version | None:
        from mlflow.exceptions import MlflowException

        with mlflow_errors(self.uri):
            try:
                return _version(self.client.get_model_version_by_alias(self.name, alias))
            except MlflowException as error:
                # A registry without the model, a model without the alias; of the latter, stores say different things.
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise

    def _noted(self) -> list[tuple[int, Move]]:
        from mlflow.exceptions import MlflowException

        with mlflow_errors(self.uri):
            try:
                tags = self.client.get_registered_model(self.name).tags
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return []
                raise
        moves: list[tuple[int, Move]] = []
        for name, text in tags.items():
            if re.fullmatch(rf"{re.escape(_HISTORY)}\d{{1,9}}", name):
                place = f"the tag {name} of {self.name} in MLflow"
                content = records.parse(text, place, raises=StoreError)
                moves.append((int(name.removeprefix(_HISTORY)), records.made(Move, content, place, raises=StoreError)))
        return sorted(moves, key=lambda numbered: numbered[0])


def names(tracking: TrackingOptions) -> list[str]:
    """The registered models that detpress made."""
    with mlflow_errors(store_uri(tracking)):
        models = connect(tracking).search_registered_models(matching({"tags.made_by": "detpress"}))
        return sorted(str(model.name) for model in models)


@contextlib.contextmanager
def mlflow_errors(uri: str) -> Iterator[None]:
    """What MLflow raises, as an error that says what to do."""
    from alembic.util import CommandError  # the tables are a newer MLflow's
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError  # the file is no database, or a damaged one

    try:
        yield
    except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
        first = urls(redact_text(str(error))).strip().partition("\n")[0]
        raise StoreError(
            f"MLflow's registry at {told(uri)} cannot be used: {first}; check tracking.uri and that its server "
            "runs, then run the command again"
        ) from error


def _version(model_version: ModelVersion) -> Version:
    tags: dict[str, Any] = dict(model_version.tags)
    return Version(str(model_version.version), str(tags.get("run_id", "")), str(model_version.source), tags)
