"""Programs that stand in for other Pythons: the one that runs the tests, with other packages."""

from __future__ import annotations

import sys
from pathlib import Path


def stand_in(path: Path, site: Path | None = None, **packages: str) -> Path:
    """A program that is a Python; each start of it is a line of ``PATH.log``.

    Args:
        site: the only folder that it finds packages in; ``None``: those of the Python that runs the tests.
        packages: distributions (``_`` for ``-``) and their versions that are installed in ``site``.
    """
    for name, version in packages.items():
        assert site is not None
        info = site / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
    own = "" if site is None else f'PYTHONPATH="{site}" '
    flag = "" if site is None else " -S"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho started >>"{path}.log"\n{own}exec "{sys.executable}"{flag} "$@"\n')
    path.chmod(0o755)
    return path


def starts(path: Path) -> int:
    """How often a ``stand_in`` was started."""
    log = path.with_name(f"{path.name}.log")
    return len(log.read_text().splitlines()) if log.is_file() else 0
