"""Programs of ``stages`` on another interpreter: whose packages they find, and what they start themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stages.processes import other_python, python
from tests.conftest import ROOT
from tests.pythons import stand_in

TELLS = """
import json, sys
from stages.processes import other_python, python
import stages
print(json.dumps([other_python.is_lent(), python.command("stages.x", "1"), stages.__file__, sys.argv[1:], sys.path]))
"""


def started(path: Path, folder: Path, module: str, *arguments: str) -> str:
    done = subprocess.run(
        python.command(module, *arguments, interpreter=str(path)),
        env=python.environment(interpreter=str(path)),
        cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_runs_our_stages_whatever_is_named_so_in_the_current_folder_or_there(tmp_path: Path) -> None:
    site = tmp_path / "site"
    for folder in (tmp_path, site):
        (folder / "stages").mkdir(parents=True, exist_ok=True)
        (folder / "stages" / "__init__.py").write_text("raise ImportError('not ours')\n")
    (tmp_path / "json.py").write_text("raise ImportError('of the current folder')\n")
    (site / "tells.py").write_text(TELLS)
    lent, again, file, arguments, path = json.loads(
        started(stand_in(tmp_path / "python", site), tmp_path, "tells", "a", "b c")
    )
    assert file == str(ROOT / "stages" / "__init__.py") and arguments == ["a", "b c"]
    assert lent and str(ROOT) not in path and "" not in path and str(tmp_path) not in path
    # What it starts runs on the same Python, and in the same way.
    assert again == [sys.executable, *other_python.command("x", "stages.x", "1")[1:]]


def test_the_own_python_is_started_as_ever() -> None:
    assert not other_python.is_lent()
    assert python.command("stages.x", "1")[-3:] == [python.STARTER, "stages.x", "1"]


def test_nothing_of_ours_sends_the_other_one_to_our_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONHOME", "PYTHONPATH"):
        monkeypatch.setenv(name, "/here")
    theirs = python.environment(interpreter="python3.11", OMP_NUM_THREADS="3")
    assert theirs["OMP_NUM_THREADS"] == "3" and theirs["PYTHONSAFEPATH"] == "1"
    assert not {"PYTHONHOME", "PYTHONPATH"} & set(theirs)
