"""The champion of the registry, fetched so that a challenger can be measured beside it."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipelines.execution.runner import Results
from pipelines.registry.register import home_of
from pipelines.registry.registry import BUNDLE, Registry, Version
from stages.artifacts import Artifact, Engine
from stages.bundle.contents import Opened, open_bundle, unpack
from stages.errors import InputError

CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True)
class Champion:
    """The champion, unpacked on this machine."""

    version: Version
    bundle: Opened

    @property
    def engine(self) -> Engine:
        return self.bundle.engine


def fetch_champion(registry: Registry, version: Version, artifacts: Path) -> Champion:
    """Bring a version's bundle here, unless it is here, and check every file of it.

    Raises:
        InputError: it is not what was registered.
        StoreError: MLflow cannot be reached, or its files are gone.
    """
    home = home_of(registry, version, artifacts)
    for other in home.parent.glob("*/"):
        if other != home:
            shutil.rmtree(other)  # of a champion before; MLflow has it
    folder = home / "bundle"
    if folder.is_dir():
        with contextlib.suppress(InputError):  # somebody changed it here: fetched again
            return Champion(version, open_bundle(folder, folder))
        shutil.rmtree(folder)
    zipped = registry.fetch(version, BUNDLE, home)
    if zipped is None:
        raise InputError(
            f"{registry.name} version {version.number} has no {BUNDLE} in MLflow any more; promote another with "
            "`detpress promote VERSION --force`"
        )
    made = home / ".unpacked"
    shutil.rmtree(made, ignore_errors=True)  # of one that was killed here
    unpack(zipped, made, digest=version.tags["bundle_sha256"])
    made.rename(folder)
    zipped.unlink()
    return Champion(version, open_bundle(folder, folder))


def add_existing_result(results: Results, name: str, artifact: Artifact) -> None:
    """Let a result that no stage of this run makes stand among its results."""
    results.artifacts[name] = artifact
    results.seconds[name] = 0.0
    results.cached.add(name)
