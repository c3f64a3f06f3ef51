"""The one way in which this project starts a Python process: isolated from what the user has lying around.

Neither PYTHONPATH nor the current folder is searched for modules, in the process and in what it starts itself. So no
``ppdet`` or ``numpy`` of the user's takes the place of the installed one whose version is in the keys of results.
``detpress.py`` does it from within; what is searched instead is written there.
"""

from __future__ import annotations

import os
import sys

from stages.processes import other_python

OUTER = "DETPRESS_OUTER_PYTHONPATH"
"""Keeps the user's PYTHONPATH for programs of theirs that we start (see `outer_environment`)."""

_ROOT = __file__.rsplit(os.sep, 3)[0]  # no pathlib: a foreign module may still have its name here
STARTER = f"{_ROOT}{os.sep}detpress.py"
_WITHOUT_STARTER = "import sys; sys.path[:] = [p for p in sys.path if p]; import detpress; detpress.start()"


def command(module: str, *arguments: str, interpreter: str | None = None) -> list[str]:
    """What starts ``module`` as a program; to be run with an `environment`.

    Args:
        interpreter: another Python, for a module of ``stages``; ``None``: the one that runs this process.
    """
    if interpreter is not None or other_python.is_lent():
        return other_python.command(interpreter or sys.executable, module, *arguments)
    flags = ["-s"] if sys.flags.no_user_site else []
    return [sys.executable, *flags, STARTER, module, *arguments]


def elsewhere(module: str, *arguments: str) -> list[str]:
    """The same on a machine where this project may be installed in another folder, after the interpreter there."""
    return ["-c", _WITHOUT_STARTER, module, *arguments]


def alone(file: str) -> list[str]:
    """What starts a file that needs nothing but the standard library, without looking for anything else."""
    return [sys.executable, "-I", "-S", file]


def portable(module: str, *arguments: str) -> list[str]:
    """The same in words that can be kept: no path of this installation but its interpreter's (see `revived`)."""
    return [sys.executable, "-m", module, *arguments]


def revived(kept: list[str]) -> list[str] | None:
    """The `command` for what `portable` gave; ``None`` for a program of the user's."""
    if kept[1:2] != ["-m"] or kept[2:3] != ["pipelines.cli"]:
        return None
    return command(*kept[2:]) if kept[0] == sys.executable else kept


def environment(*, interpreter: str | None = None, **own: str) -> dict[str, str]:
    """The environment for a `command`: this process's without PYTHONPATH, and what is ``own`` to the other one."""
    env = dict(os.environ)
    listed = env.pop("PYTHONPATH", "")
    if listed:
        env[OUTER] = listed
    env["PYTHONSAFEPATH"] = "1"  # from Python 3.11 on, for interpreters that libraries start
    if interpreter is not None:
        env.pop("PYTHONHOME", None)  # of our Python
    return {**env, **own}


def outer_environment(**own: str) -> dict[str, str]:
    """The environment for a program of the user's: with PYTHONPATH as it was."""
    env = dict(os.environ)
    listed = env.pop(OUTER, "")
    if listed:
        env.setdefault("PYTHONPATH", listed)
    return {**env, **own}


def ignored_path() -> str:
    """What of the user's PYTHONPATH this process does not search; empty if there is nothing of that kind."""
    return os.pathsep.join(_foreign(os.environ.get(OUTER, "")))


def explain(error: ModuleNotFoundError) -> str:
    """What to say of a module that is missing, where it may lie on the user's PYTHONPATH; else nothing."""
    if not ignored_path():
        return ""
    return f"{error.name} is not installed; PYTHONPATH is not searched (docs/architecture.md), so install it with pip"


def is_exposed(first: str) -> bool:
    """Whether this process searches PYTHONPATH or the current folder for modules, and that is not the project's own.

    Args:
        first: ``sys.path[0]`` as the interpreter set it: `python -m` puts the current folder there.
    """
    listed = "" if sys.flags.ignore_environment else os.environ.get("PYTHONPATH", "")
    try:
        here = os.getcwd()  # noqa: PTH109 (see above)
    except FileNotFoundError:
        here = ""  # it was removed, and has no modules
    in_it = bool(here) and os.path.realpath(first or ".") == os.path.realpath(here)
    return bool(_foreign(listed) or (in_it and _foreign(here)))


def replace_process(module: str, arguments: list[str]) -> None:
    """Go on as ``module`` in this process, isolated; it does not return."""
    env = environment()
    if "PYTHONSAFEPATH" not in os.environ:  # programs of the user's get what is in the environment then
        del env["PYTHONSAFEPATH"]
    if sys.stdout is not None:  # it was closed
        sys.stdout.flush()
    os.execve(sys.executable, command(module, *arguments), env)


def _foreign(listed: str) -> list[str]:
    """The folders of a path without the project's own; an empty name stands for the current one."""
    own = os.path.realpath(_ROOT)
    return [folder or "." for folder in listed.split(os.pathsep) if listed and os.path.realpath(folder or ".") != own]
