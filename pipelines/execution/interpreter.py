"""The Python that a run's workers are: the command's own, or another (``run.paddle_python``)."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

from pipelines.system import provenance, telemetry
from stages import backends
from stages.backends.base import Available, Unavailable
from stages.errors import InputError
from stages.processes import children, python

_SECONDS = 60.0
_LOOK = """
import json, sys
if sys.version_info < (3, 10):
    sys.exit("it is Python %d.%d, and 3.10 or later is needed" % sys.version_info[:2])
sys.path[:] = [folder for folder in sys.path if folder]
from importlib import metadata
packages = {}
for one in metadata.distributions():
    if one.metadata["Name"]:
        packages.setdefault(one.metadata["Name"], one.version)
print(json.dumps({"python": "%d.%d.%d" % sys.version_info[:3], "packages": packages}))
"""
"""What a Python says of itself, without code of ours; of two versions the first on the path is the one that counts."""


@dataclass(frozen=True)
class Interpreter:
    """A Python, and what is installed there for the stages. Without a ``path`` it is the one that runs this."""

    path: str | None = None
    _found: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """``python``: its version; ``packages``: distribution -> version."""

    @property
    def version(self) -> str:
        """Python's."""
        return platform.python_version() if self.path is None else str(self._found["python"])

    def packages(self) -> dict[str, str]:
        """Every installed distribution and its version."""
        return provenance.versions() if self.path is None else dict(self._found["packages"])

    def version_of(self, distribution: str) -> str | None:
        """The version of a distribution; ``None`` if it is not installed."""
        if self.path is None:
            return _own_version(distribution)
        name = _canonical(distribution)
        return next((v for n, v in self._found["packages"].items() if _canonical(n) == name), None)

    def fingerprint(self, backend: str) -> Mapping[str, str]:
        """What an engine's validity depends on, as the backend itself says it there."""
        if self.path is None:
            return backends.get(backend).fingerprint()
        return dict(_backends_of(self.path).get(backend, {}).get("fingerprint", {}))

    def availability(self, backend: str) -> Available | Unavailable:
        """Whether engines of the backend can be built and run there."""
        if self.path is None:
            return backends.get(backend).availability()
        said = _backends_of(self.path).get(backend)
        if said is None:
            return Unavailable(f"the backend is not installed for {self.path}")
        if "reason" in said:
            return Unavailable(f"{said['reason']} for {self.path}", said["install"])
        return Available(said["detail"], said["can_run"])


OWN = Interpreter()


@cache
def ask(path: str) -> Interpreter:
    """The interpreter at ``path``.

    Raises:
        InputError: there is none, or it is too old.
    """
    return Interpreter(path, json.loads(_run(path, [path, "-c", _LOOK], "is no Python that can be used")))


@cache
def _backends_of(path: str) -> dict[str, Any]:
    """What `stages.backends.probe` prints there. Raises InputError if it lacks what the stages import."""
    command = python.command("stages.backends.probe", interpreter=path)
    return dict(json.loads(_run(path, command, "cannot run the stages")))


def _run(path: str, command: list[str], problem: str) -> str:
    env = telemetry.off(python.environment(interpreter=path))
    try:
        done = children.run(command, env=env, timeout=_SECONDS, cwd=os.sep)
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or f"it did not answer within {_SECONDS:g} s"
        raise InputError(f"{path} cannot be started: {reason}") from error
    if done.returncode or not done.stdout.startswith("{"):
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it says nothing"]
        raise InputError(f"{path} {problem}: {lines[-1] if lines[0].startswith('Traceback') else lines[0]}")
    return done.stdout


@cache
def _own_version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
