"""Install lines that work where they are read: in a checkout or from a wheel, with this Python and no other."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

_EXTRA = re.compile(r"""(["']?)detpress\[([\w,-]+)\]\1""")
_PIP = re.compile(r"(?<![\w-])pip install\b")


def checkout() -> Path | None:
    """The root of the checkout that this code runs from; ``None`` for an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() and (root / "Makefile").is_file() else None


def fitted(text: str) -> str:
    """``text`` with its ``pip install`` lines, as they are written in the code, made to fit this installation.

    ``pip install "detpress[paddle]"`` becomes ``pip install -e ".[paddle]"`` in a checkout; and where ``pip`` is not
    this Python's, as when a virtual environment is not activated, ``pip`` becomes ``PYTHON -m pip``.
    """
    root = checkout()
    if root is not None:
        folder = "." if root == _here() else str(root)
        text = _EXTRA.sub(lambda match: f'-e "{folder}[{match[2]}]"', text)
    if _PIP.search(text) and not _activated():
        text = _PIP.sub(lambda _: f"{shlex.quote(sys.executable)} -m pip install", text)
    return text


def _here() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # it was removed
        return None


def _activated() -> bool:
    """Whether the ``pip`` that a shell would find installs for this Python."""
    pip = shutil.which("pip")
    return pip is not None and Path(pip).parent.samefile(Path(sys.executable).parent)
