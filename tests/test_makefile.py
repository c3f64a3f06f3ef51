"""What a new user meets first: `make`, before anything is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

GIVEN = ("PADDLE", "VENV", "PYTHON", "ARGS", "WORKERS")
"""Variables of the Makefile that its user may set."""


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # The tests may be run by a make of their own, whose variables (PADDLE=3, VENV=...) it would hand on.
    own = {
        name: value for name, value in os.environ.items() if name not in (*GIVEN, "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    }
    return subprocess.run(["make", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=60, env=own)


def test_make_alone_explains_itself() -> None:
    out = make().stdout
    for target in ("compress", "test", "ui", "doctor"):
        assert re.search(rf"^  make {target} +\S", out, re.MULTILINE), out


def test_what_the_tests_were_started_with_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKEFLAGS", " -- PADDLE=3")
    monkeypatch.setenv("PADDLE", "3")
    assert ".venv/bin/detpress compress" in make("-n", "-W", "requirements/build.lock", "compress").stdout


@pytest.mark.parametrize("target", ["compress", "test"])
def test_another_python_is_refused_before_anything_is_installed(tmp_path: Path, target: str) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo "Python 3.9.18"; exit 0; fi\nexit 1\n')
    old.chmod(0o755)
    venv = tmp_path / "venv"
    result = make(target, f"PYTHON={old}", f"VENV={venv}")
    assert result.returncode != 0
    assert "needs Python 3.10, 3.11 or 3.12 (found: Python 3.9.18)" in result.stderr
    assert f"make {target} PYTHON=python3.11" in result.stderr
    assert not venv.exists()


def test_another_paddle_comes_from_its_own_lock_into_its_own_environment() -> None:
    dry = ("-n", "-W", "requirements/build.lock", "compress")  # as if nothing was installed yet
    default, three = make(*dry).stdout, make(*dry, "PADDLE=3").stdout
    assert (
        "-r requirements.lock" in default and ".venv/bin/detpress compress" in default and "paddle3.lock" not in default
    )
    assert "-r requirements/paddle3.lock" in three and ".venv-paddle3/bin/detpress compress" in three
    assert "requirements.lock" not in three
    wrong = make("compress", "PADDLE=4")
    assert wrong.returncode == 2 and 'PADDLE is 2 (the default) or 3, not "4"' in wrong.stderr


PYTHON = """#!/bin/sh
case "$2" in
  *"!= '{version}'"*) exit 0 ;;
  *"<= (3, {newest})"*) exit 0 ;;
esac
[ "$1" = --version ] && echo "Python {version}.0" && exit 0
exit 1
"""
"""What a Python answers to the questions of the Makefile, as one whose version is at most 3.``newest``."""


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def make_on(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """On a machine whose PATH is one folder."""
    command = [str(shutil.which("make")), "-C", str(ROOT), f"VENV={folder / 'venv'}", *arguments]
    return subprocess.run(command, env={"PATH": str(folder / "bin")}, capture_output=True, text=True, timeout=60)


def test_where_python_3_13_is_all_there_is_one_line_says_what_is_missing(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "python3.13", PYTHON.format(version="3.13", newest=14))
    done = make_on(tmp_path, "compress")
    assert done.returncode == 2 and not (tmp_path / "venv").exists()
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make: ")]
    assert line.startswith("Paddle needs Python 3.10, 3.11 or 3.12 (found: Python 3.13.0); install one, or name it: ")
    assert '"python3.13" -m venv' in make_on(tmp_path, "-n", "test-light").stdout


@pytest.mark.parametrize("tool", ["pyenv", "uv"])
def test_a_python_that_is_not_on_the_path_is_found(tmp_path: Path, tool: str) -> None:
    program(tmp_path / "bin" / "python3.13", PYTHON.format(version="3.13", newest=14))
    found = program(tmp_path / "other" / "bin" / "python", PYTHON.format(version="3.12", newest=12))
    says = {"pyenv": ("prefix 3.12", found.parents[1]), "uv": ("python find --system 3.12", found)}[tool]
    program(tmp_path / "bin" / tool, f'#!/bin/sh\n[ "$*" = "{says[0]}" ] && echo "{says[1]}"\n')
    assert f'"{found}" -m venv' in make_on(tmp_path, "-n", "compress").stdout


def test_the_lock_is_hashed_and_names_no_index() -> None:
    for name in ("requirements.lock", "requirements/paddle3.lock", "requirements/build.lock"):
        text = (ROOT / name).read_text()
        assert "http" not in text.replace("httpcore", "").replace("httpx", "").replace("aiohttp", "")
        pins = re.findall(r"^[A-Za-z0-9._-]+==\S+", text, re.MULTILINE)
        blocks = re.split(r"^(?=[A-Za-z0-9._-]+==)", text, flags=re.MULTILINE)[1:]
        assert len(pins) == len(blocks) > 3
        assert all("--hash=sha256:" in block for block in blocks)
