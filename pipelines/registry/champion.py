"""The champion of the registry, fetched so that a challenger can be measured beside it."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pipelines.execution.interpreter import OWN, Interpreter
from pipelines.execution.runner import Results
from pipelines.registry.register import home_of
from pipelines.registry.registry import BUNDLE, Registry, Version
from pipelines.system import telemetry
from stages.artifacts import Artifact, Engine
from stages.bundle.contents import Opened, open_bundle, unpack
from stages.errors import InputError
from stages.processes import children, python
from stages.processes.pipes import error_from_json, receive

CHAMPION, CHALLENGER = "champion", "challenger"
_TRIAL_SECONDS = 600.0
_ADVICE = re.compile(r"(: refused)?; (fetch it|make the bundle) again.*")  # to whoever was handed a bundle


@dataclass(frozen=True)
class Champion:
    """The champion, unpacked on this machine."""

    version: Version
    bundle: Opened

    @property
    def engine(self) -> Engine:
        return self.bundle.engine

    def refused(self, registry: Registry, why: str) -> InputError:
        """The error that says why no challenger can be measured beside it, and what to do."""
        return InputError(
            f"the champion, {registry.name} version {self.version.number}, cannot be measured: {why}; `detpress "
            "rollback` goes back to the one before, `detpress promote VERSION --force` makes another the champion"
        )


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


def require_usable(registry: Registry, champion: Champion, workers: Interpreter = OWN) -> None:
    """Let the champion's engine find the objects of one image, before a challenger is trained for hours.

    Args:
        workers: the Python that measures later.

    Raises:
        InputError: the engine is damaged, or another one than its bundle says.
        UnavailableError: the backend cannot run here.
        DetpressError: whatever else kept it from running.
    """
    folder, engine = champion.bundle.root, champion.bundle.root / "engine" / champion.engine.main
    command = python.command("stages.bundle.trial", str(folder), interpreter=workers.path)
    env = telemetry.off(python.environment(interpreter=workers.path))
    try:
        done = children.run(command, env=env, timeout=_TRIAL_SECONDS)
    except subprocess.TimeoutExpired:
        raise champion.refused(registry, f"{engine} finds nothing within {_TRIAL_SECONDS:g} s") from None
    for answer in receive(io.StringIO(done.stdout)):
        if "error" not in answer:
            return
        error = error_from_json(answer["error"])
        if not isinstance(error, InputError):
            raise error
        raise champion.refused(registry, _ADVICE.sub("", error.message)) from error
    code = done.returncode
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    raise champion.refused(registry, f"the process that runs {engine} ends {how}")


def add_existing_result(results: Results, name: str, artifact: Artifact) -> None:
    """Let a result that no stage of this run makes stand among its results."""
    results.artifacts[name] = artifact
    results.seconds[name] = 0.0
    results.cached.add(name)
