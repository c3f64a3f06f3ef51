"""Paths for people: relative to the working folder, or with ``~``. A report is passed on, so it names no folder of this
machine that its reader has no use for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.system import user
from stages.errors import InputError


def require_folder() -> None:
    """Raise InputError if the current folder is gone: whatever is asked of it would fail, each in its own words."""
    try:
        os.getcwd()  # noqa: PTH109
    except OSError:
        raise InputError("the current folder is not there any more; change to one that is (cd FOLDER)") from None


def shorten(value: Any, folder: Path | None = None, home: Path | None = None) -> Any:
    """A copy of nested dicts, lists and plain values in which paths under two folders are short.

    Args:
        folder: whose paths become relative; by default the working folder.
        home: for which ``~`` stands; by default the user's, who may have none.
    """
    roots = [(folder or Path.cwd(), "."), (home or user.home(), "~")]
    return _shorten(value, [(str(root), short) for root, short in roots if root is not None and root != root.parent])


def _shorten(value: Any, roots: list[tuple[str, str]]) -> Any:
    if isinstance(value, Mapping):
        return {key: _shorten(item, roots) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shorten(item, roots) for item in value]
    if not isinstance(value, str):
        return value
    for root, short in roots:
        # A whole path or the beginning of one: neither inside another path or an address, nor of a longer name.
        start = rf"(?<![\w./~-]){re.escape(root)}"
        inside = "" if short == "." else f"{short}/"
        value = re.sub(rf"{start}/+(?=[^\s/'\",;:)\]}}])", inside, value)
        value = re.sub(rf"{start}/*(?=$|[\s'\",;:)\]}}]|\.(?:\s|$))", short, value)
    return value
