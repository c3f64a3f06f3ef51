"""Does every package get what it asks for? Judges the locks, or the environment that this Python has.

There is a lock for each Paddle (`LOCKS`). It is installed with ``--no-deps``, so pip judges none of it; this does::

    python requirements/check_lock.py --python 3.10 --python 3.12    # the locks, for these Pythons on Linux x86_64
    python requirements/check_lock.py --installed                    # what is installed beside this Python (no network)

Each requirement that is not met is one line; exit code 1 if there is any. What a package declares wrongly is stated in
``pyproject.toml`` under ``tool.uv.dependency-metadata``, for one version of it; the resolver goes by that, and so does
this.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKS = {"requirements.lock": "paddle", "requirements/paddle3.lock": "paddle3"}
"""Lock -> the extra of ``pyproject.toml`` that only this one has."""
_PIN = re.compile(r"[A-Za-z0-9].*?(?=\s*\\?$)")
"""A line of the lock (or of a ``.in`` file) that names a package, without the backslash before its hashes."""


@dataclass(frozen=True)
class Distribution:
    """A package at one version, and what its metadata says it requires."""

    name: str
    version: str
    requires: tuple[str, ...] = ()


Distributions = Mapping[str, Distribution]
"""By canonical name (lower case, dashes)."""


@dataclass(frozen=True)
class Project:
    """What ``pyproject.toml`` and ``requirements/*.in`` say."""

    requires: tuple[str, ...]
    """What the project itself requires: always, in the extras that ``make lock`` locks, and in the ``.in`` files."""
    stated: tuple[tuple[str, str | None, tuple[str, ...]], ...]
    """The exceptions: name, version (``None``: any), and the requirements that hold instead of the declared ones."""

    def exception(self, package: Distribution) -> tuple[str, ...] | None:
        """The requirements stated for exactly this version, or ``None``."""
        for name, version, requires in self.stated:
            if name == canonicalize_name(package.name) and version in (None, package.version):
                return requires
        return None


def read_project(root: Path = ROOT, lock: str = "requirements.lock") -> Project:
    """Read the project's requirements and the exceptions; the ``Makefile`` says which extras are locked.

    Exceptions for a version that only another lock pins are left out.
    """
    data = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extras: dict[str, list[str]] = data["project"]["optional-dependencies"]
    requires = [*data["project"]["dependencies"]]
    pins = {name: {text.partition(";")[0].strip() for text in extras.get(name, [])} for name in LOCKS.values()}
    others = set().union(*(pins[other] for other in pins if other != LOCKS[lock])) - pins[LOCKS[lock]]
    for extra in re.findall(r"--extra ([\w-]+)", (root / "Makefile").read_text(encoding="utf-8")):
        if extra not in LOCKS.values() or extra == LOCKS[lock]:
            requires += extras[extra]
    for path in sorted((root / "requirements").glob("*.in")):
        requires += _requirement_lines(path.read_text(encoding="utf-8"))
    entries: list[dict[str, Any]] = data.get("tool", {}).get("uv", {}).get("dependency-metadata", [])
    return Project(
        tuple(requires),
        tuple(
            (canonicalize_name(e["name"]), e.get("version"), tuple(e.get("requires-dist", ())))
            for e in entries
            if f"{e['name']}=={e.get('version')}" not in others
        ),
    )


def linux(python: str) -> dict[str, str]:
    """The environment markers of CPython ``python`` (``3.12``) on Linux x86_64, wherever this runs."""
    environment = {name: str(value) for name, value in default_environment().items()}
    fixed = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
    fixed |= {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    full = python if python.count(".") > 1 else f"{python}.0"
    fixed |= {"python_version": ".".join(full.split(".")[:2]), "python_full_version": full}
    return environment | fixed | {"implementation_version": full}


def read_lock(text: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The pins of a lock that hold in ``environment``: canonical name -> version."""
    pins: dict[str, str] = {}
    for line in _requirement_lines(text):
        pin = Requirement(line)
        if _holds(pin, environment):
            pins[canonicalize_name(pin.name)] = next(iter(pin.specifier)).version
    return pins


def violations(
    packages: Distributions, project: Project, environment: Mapping[str, str], *, verb: str = "locked"
) -> list[str]:
    """A line for each requirement that ``packages`` does not meet, of the project and of every package.

    Extras count as soon as some package asks for them (``moto[server]``). ``verb`` says how a package is there.
    """
    queue = [(Distribution("detpress", "", project.requires), ""), *((package, "") for package in packages.values())]
    seen, lines = set(), []
    while queue:
        package, extra = queue.pop(0)
        if (package, extra) in seen:
            continue
        seen.add((package, extra))
        who = f"{package.name} {package.version}".strip()
        stated = project.exception(package)
        for text in package.requires if stated is None else stated:
            try:
                needed = Requirement(text)
            except InvalidRequirement:
                lines.append(f"{who} states a requirement that cannot be read: {text!r}")
                continue
            # With an extra, only what the extra adds: the rest is judged once, without any.
            if not _holds(needed, environment, extra) or (extra and _holds(needed, environment)):
                continue
            found = packages.get(canonicalize_name(needed.name))
            wanted = f"{needed.name}{needed.specifier}" + (f" (for its extra {extra})" if extra else "")
            if found is None:
                lines.append(f"{who} needs {wanted}, which is not {verb}")
                continue
            if not needed.specifier.contains(found.version, prereleases=True):
                lines.append(f"{who} needs {wanted}, but {found.name} {found.version} is {verb}")
            queue += [(found, each) for each in sorted(needed.extras)]
    return list(dict.fromkeys(lines))


def idle_exceptions(
    packages: Distributions, project: Project, environment: Mapping[str, str] | None = None
) -> list[str]:
    """A line for each stated exception that applies to no package: it was made for a version that is gone.

    One for a package that the project itself asks for on other Pythons alone is left out in this ``environment``.
    """
    lines = []
    own = [Requirement(text) for text in project.requires] if environment is not None else []
    for name, version, _ in project.stated:
        asked = [_holds(one, environment or {}) for one in own if canonicalize_name(one.name) == name]
        if asked and not any(asked):
            continue
        found = packages.get(name)
        if found is None or version not in (None, found.version):
            there = f"{found.version} is locked" if found else "it is not locked"
            lines.append(f"the exception for {name} {version or ''} has no effect: {there}".replace("  ", " "))
    return lines


def installed() -> dict[str, Distribution]:
    """What is installed beside this Python."""
    found: dict[str, Distribution] = {}
    for one in metadata.distributions():
        name = one.metadata["Name"]
        if name:  # a broken folder has none; the first of two on the path is the one that is imported
            found.setdefault(canonicalize_name(name), Distribution(name, one.version, tuple(one.requires or ())))
    return found


def fetch(pins: Mapping[str, str], python: str) -> dict[str, Distribution]:
    """Ask the package index what these packages declare, as pip would install them for ``python`` (half a minute).

    The hashes are left out: with them pip fetches whole packages, only to read their metadata.
    """
    with tempfile.TemporaryDirectory() as folder:
        listed, report = Path(folder, "pins.txt"), Path(folder, "report.json")
        listed.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--quiet", "--disable-pip-version-check"]
        command += ["--dry-run", "--no-deps", "--ignore-installed", "--use-feature=fast-deps", "--report", str(report)]
        command += ["--python-version", python, "--target", str(Path(folder, "none")), "-r", str(listed)]
        subprocess.run(command, check=True)
        answer = json.loads(report.read_text(encoding="utf-8"))["install"]
    each = [one["metadata"] for one in answer]
    return {
        canonicalize_name(m["name"]): Distribution(m["name"], m["version"], tuple(m.get("requires_dist", ())))
        for m in each
    }


def check_lock(lock: str, python: str) -> list[str]:
    """Judge a lock for one Python on Linux x86_64."""
    environment, project = linux(python), read_project(lock=lock)
    packages = fetch(read_lock((ROOT / lock).read_text(encoding="utf-8"), environment), python)
    return violations(packages, project, environment) + idle_exceptions(packages, project, environment)


def installed_lock() -> str:
    """The lock that pins the installed Paddle; the default's, where there is none or another version."""
    found = installed().get("paddlepaddle")
    for lock in LOCKS:
        if found and f"\npaddlepaddle=={found.version} " in (ROOT / lock).read_text(encoding="utf-8"):
            return lock
    return next(iter(LOCKS))


def check_installed(lock: str) -> list[str]:
    """Judge what is installed, as far as the lock names it; what a user added beside it is not ours to judge."""
    environment, project = {name: str(value) for name, value in default_environment().items()}, read_project(lock=lock)
    pins = read_lock((ROOT / lock).read_text(encoding="utf-8"), environment)
    packages = {name: package for name, package in installed().items() if name in pins}
    missing = [f"{name} {pins[name]} is locked, but not installed" for name in pins if name not in packages]
    return missing + violations(packages, project, environment, verb="installed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is not met; 1 if there is anything, else 0."""
    parser = argparse.ArgumentParser(description="Check that every package gets what it requires.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--installed", action="store_true", help="judge the environment of this Python")
    what.add_argument("--python", action="append", metavar="X.Y", help="judge the locks for this Python (repeatable)")
    parser.add_argument(
        "--lock", choices=LOCKS, help="only this one (default: the one that pins the installed Paddle, or all)"
    )
    options = parser.parse_args(arguments)
    if options.installed:
        lock = options.lock or installed_lock()
        lines = check_installed(lock)
        advice = f"The environment is not what {lock} says. Delete its folder and run make again."
    else:
        lines = [
            f"{lock}, Python {python}: {line}"
            for lock in ([options.lock] if options.lock else LOCKS)
            for python in options.python
            for line in check_lock(lock, python)
        ]
        advice = "A lock contradicts itself; docs/lock.md says what can be done."
    for line in lines:
        print(line, file=sys.stderr)
    if lines:
        print(advice, file=sys.stderr)
    return 1 if lines else 0


def _requirement_lines(text: str) -> Iterable[str]:
    """The requirements among the lines of a requirements file: no hashes, comments, options."""
    lines = (re.split(r"(?:^|\s)#", line)[0].rstrip() for line in text.splitlines())
    return [match[0] for line in lines if (match := _PIN.match(line))]


def _holds(requirement: Requirement, environment: Mapping[str, str], extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**environment, "extra": extra})


if __name__ == "__main__":
    sys.exit(main())
