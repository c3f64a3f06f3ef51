"""Who runs this, and where that user's files are, also where the system knows no such user.

Containers often run under a number that stands in no list of users, without a name and without a home folder.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import TypeVar


def user_name() -> str:
    """The user's name, else ``uid-NUMBER``."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # which of them depends on the version of Python
        return f"uid-{os.getuid()}"


def home() -> Path | None:
    """The user's folder; ``None`` if there is none."""
    try:
        return Path.home()
    except RuntimeError:
        return None


Env = TypeVar("Env", bound=MutableMapping[str, str])


def named(env: Env) -> Env:
    """Name a user without a name or a home in ``env``, for what others' packages ask: MLflow fails without an answer.

    The home is ``/``, as container engines have it: nothing is kept there unnoticed.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):
        env["LOGNAME"] = user_name()
    if home() is None:
        env["HOME"] = "/"
    return env


def writable_home(env: Env, instead: Path) -> Env:
    """Let the home in ``env`` be ``instead``, a new folder, if the user's cannot be written: Paddle writes there.

    Downloads are kept where they would have been, or that is an error of its own.
    """
    mine = home()
    if mine is None or not os.access(mine, os.W_OK):
        instead.mkdir(parents=True, exist_ok=True)
        env["HOME"] = str(instead)
        env.setdefault("DETPRESS_CACHE", str((mine or Path("/")) / ".cache" / "detpress"))
    return env
