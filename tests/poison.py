"""A folder of modules that nobody meant: packages of ours, of the libraries and of Python, which tell when they run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NAMES = (
    *("sitecustomize", "json", "typing", "conf", "pipelines", "stages", "detpress_probe"),
    *("numpy", "cv2", "paddle", "ppdet", "onnx", "onnxruntime", "mlflow", "uvicorn", "hydra_plugins", "ray"),
)


def poison(folder: Path, *names: str) -> Path:
    """Put modules of these names (all, if none is given) into ``folder``; each breaks whoever imports it."""
    for name in names or NAMES:
        package = folder / name
        package.mkdir(parents=True, exist_ok=True)
        mark = folder / "RAN"
        (package / "__init__.py").write_text(
            f"with open({str(mark)!r}, 'a') as mark:\n    mark.write('{name} ')\nraise ImportError('not meant')\n"
        )
    return folder


def enter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make ``folder`` the current one, and put it on PYTHONPATH beside an empty entry, which means here."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}")
    return folder


def ran(folder: Path) -> str:
    """The names of those that ran."""
    mark = folder / "RAN"
    return mark.read_text() if mark.exists() else ""
