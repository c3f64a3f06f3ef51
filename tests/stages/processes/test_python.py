"""How a Python process of ours is started, and what it does not see of the user's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.processes import python
from tests.conftest import ROOT
from tests.poison import enter, poison, ran

TELLS = "tests.stages.processes.tells_its_path"


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, and on PYTHONPATH: full of modules that are not meant."""
    return enter(poison(tmp_path / "foreign"), monkeypatch)


@pytest.mark.parametrize("way", ["here", "elsewhere"])
def test_a_process_searches_what_is_installed_and_our_own_root(foreign: Path, way: str) -> None:
    """``elsewhere`` finds the project as it is installed, which in a checkout is beside the tests too."""
    command, env = python.command(TELLS, "a", "b c"), python.environment(MINE="1")
    if way == "elsewhere":
        command = [sys.executable, *python.elsewhere(TELLS, "a", "b c")]
        env["PYTHONPATH"] = str(ROOT)  # stands for where it is installed
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["arguments"] == ["a", "b c"] and told["MINE"] == "1"
    assert str(foreign) not in told["path"] and "" not in told["path"]
    assert told["stages"] == str(ROOT / "stages" / "__init__.py")
    assert ran(foreign) == ""


def test_programs_of_the_user_get_their_path_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    inner = python.environment(MINE="1")
    assert "PYTHONPATH" not in inner and inner["MINE"] == "1"
    for name in ("PYTHONPATH", python.OUTER):
        monkeypatch.delenv(name, raising=False)
    assert python.outer_environment() == dict(os.environ)
    monkeypatch.setenv(python.OUTER, inner[python.OUTER])
    outer = python.outer_environment(MINE="2")
    assert outer["PYTHONPATH"] == "/theirs" and outer["MINE"] == "2" and python.OUTER not in outer
    assert python.ignored_path() == "/theirs"


@pytest.mark.parametrize(
    ("listed", "first", "exposed"),
    [
        (None, "/venv/bin", False),
        (str(ROOT), "/venv/bin", False),
        (f"{ROOT}/", str(ROOT), False),
        ("/theirs", "/venv/bin", True),
        (f"{ROOT}{os.pathsep}", "/venv/bin", True),  # behind the last separator: the current folder
        (None, ".", True),
        (None, "", True),
    ],
)
def test_what_a_process_is_exposed_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str | None, first: str, exposed: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if listed is not None:
        monkeypatch.setenv("PYTHONPATH", listed)
    assert python.is_exposed(first) is exposed


def test_a_folder_that_was_removed_has_no_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "gone").rmdir()
    assert not python.is_exposed("/venv/bin") and not python.is_exposed("")
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    assert python.is_exposed("/venv/bin")


def test_a_command_that_was_kept_is_started_in_the_way_of_today() -> None:
    kept = python.portable("pipelines.cli", "retrain", "seed=1")
    assert kept == [sys.executable, "-m", "pipelines.cli", "retrain", "seed=1"]
    assert python.revived(kept) == python.command("pipelines.cli", "retrain", "seed=1")
    other = ["/other/python", *kept[1:]]
    assert python.revived(other) == other
    assert python.revived(["my-retrain", "-m", "x"]) is None


def test_what_lies_on_the_users_path_alone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(python.OUTER, raising=False)
    missing = ModuleNotFoundError("No module named 'theirs'", name="theirs")
    assert python.explain(missing) == ""
    monkeypatch.setenv(python.OUTER, str(ROOT))
    assert python.explain(missing) == ""
    monkeypatch.setenv(python.OUTER, "/theirs")
    assert python.explain(missing).startswith("theirs is not installed; PYTHONPATH is not searched")
    env = {**python.environment(NEEDS="theirs"), python.OUTER: "/theirs"}
    done = subprocess.run(python.command(TELLS), env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.startswith("error: theirs is not installed; PYTHONPATH is not searched")
