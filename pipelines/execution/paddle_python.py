"""Which Python has Paddle: the one that is named (``run.paddle_python``), the command's own, or one that is found here.

Paddle has no build for every Python, and the commands run on some that it has none for. All workers of a run are the
same Python, so that its images, engines and scores come from one set of packages, and the keys are those of a run whose
command runs there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pipelines.execution.interpreter import OWN, Interpreter, ask
from stages.errors import ConfigError, InputError
from stages.processes import children, python

NEEDED = ("paddlepaddle", "paddledet", "paddleslim", "paddle2onnx")
VERSIONS = ("3.11", "3.12", "3.10")
"""Of Python, those that Paddle has a build for, in the order in which they are looked for."""
_ROOT = Path(__file__).resolve().parents[2]


def paddle_python(named: str | None) -> Interpreter:
    """The Python of a run's workers; the command's own, if neither it nor another one here has Paddle.

    Args:
        named: ``run.paddle_python``.

    Raises:
        ConfigError: ``named`` cannot be started, or lacks something.
    """
    if named is None:
        return OWN if _has_paddle(OWN) else _found() or OWN
    # Not resolved: the Python of an environment is a link to another one.
    path = shutil.which(named) if os.sep not in named else str(Path(named).absolute())
    if path is None:
        raise ConfigError([f"run.paddle_python: there is no program {named} on the PATH; give the path of a Python"])
    try:
        chosen = ask(path)
    except InputError as error:
        raise ConfigError([f"run.paddle_python: {error}"]) from error
    if missing := lacking(chosen):
        what = f"{path} (Python {chosen.version}) has no {', '.join(missing)}"
        advice = "name the Python of an environment that `make` made, or install what is missing (docs/lock.md)"
        raise ConfigError([f"run.paddle_python: {what}; {advice}"])
    return chosen


def workers_python(recorded: str | None) -> Interpreter:
    """The Python that the workers of a past run were, by its ``run.json``; raises as ``paddle_python``."""
    return OWN if recorded is None else paddle_python(recorded)


def lacking(workers: Interpreter) -> list[str]:
    """Which of ``NEEDED`` it does not have."""
    missing = [name for name in NEEDED if workers.version_of(name) is None]
    return missing if not _has_paddle(workers) else [name for name in missing if name != "paddlepaddle"]


def require_paddle(named: str | None) -> None:
    """Raise InputError if no Python here has Paddle; else as ``paddle_python``."""
    workers = paddle_python(named)
    if not _has_paddle(workers):
        raise InputError(missing(workers))


def missing(workers: Interpreter) -> str:
    """What to do where a Python has no Paddle, and no other one was found."""
    if any(workers.version.startswith(f"{version}.") for version in VERSIONS):
        return "Paddle is not installed; `detpress doctor` prints the lines that install it"
    return (
        f"Paddle has no build for Python {workers.version}, and no Python 3.10 to 3.12 with Paddle was found here: "
        "make an environment of one (in a checkout: `make`), and name it: run.paddle_python=.venv/bin/python"
    )


@cache
def _found() -> Interpreter | None:
    """A Python on this machine that has what is needed, from the environment of this checkout to uv's."""
    tried: set[str] = set()
    for path in _candidates():
        if path in tried or not os.access(path, os.X_OK):
            continue
        tried.add(path)
        with contextlib.suppress(InputError):  # what is called python3 need not be one
            found = ask(path)
            if not lacking(found):
                return found
    return None


def _candidates() -> Iterator[str]:
    if (_ROOT / "pyproject.toml").is_file():  # a checkout
        yield str(_ROOT / ".venv" / "bin" / "python")
    for version in VERSIONS:
        yield shutil.which(f"python{version}") or ""
    yield shutil.which("python3") or ""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in VERSIONS:
        yield from map(str, sorted(pyenv.glob(f"{version}*/bin/python")))
    if uv := shutil.which("uv"):
        for version in VERSIONS:
            command = [uv, "python", "find", "--no-python-downloads", version]
            env = python.outer_environment()
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                yield children.run(command, env=env, timeout=20).stdout.strip()


def _has_paddle(workers: Interpreter) -> bool:
    return any(workers.version_of(name) is not None for name in ("paddlepaddle", "paddlepaddle-gpu"))
