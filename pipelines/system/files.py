"""Files that are whole or absent."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a file in one step: a reader sees the old one or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, with its times, in one step."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.copy2(source, temporary)
    temporary.replace(target)
