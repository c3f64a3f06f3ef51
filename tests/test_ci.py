"""`.ci/run` with programs that stand in for make, pyenv and the Pythons: which Pythons it takes, and what fails it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

TOOLS = ("bash", "cat", "df", "dirname", "env", "id", "mkdir", "rm", "sh", "sleep", "tail", "tr")

PYTHON = """#!/bin/sh
case "$2" in *"!= '{version}'"*) exit 0;; esac
exit 1
"""
"""Answers the question for its version, as a Python of this version does."""

MAKE = """#!/bin/sh
echo "$@" >>"{folder}/calls"
case "$*" in *{fails}*) echo "ModuleNotFoundError: planted" >&2; exit 2;; esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the script, and a `bin` that is all of the PATH."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "bin").mkdir()
    for name in TOOLS:
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    program(tmp_path / "bin" / "chromium", "#!/bin/sh\n")
    return tmp_path


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def run(checkout: Path, fails: str = "NOTHING") -> tuple[subprocess.CompletedProcess[str], list[str]]:
    program(checkout / "bin" / "make", MAKE.format(folder=checkout, fails=fails))
    done = subprocess.run(
        ["bash", ".ci/run"], cwd=checkout, env={**os.environ, "PATH": str(checkout / "bin")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done, (checkout / "calls").read_text().splitlines()


def test_a_python_behind_a_broken_shim_is_found_and_the_tests_come_last(checkout: Path) -> None:
    program(checkout / "bin" / "python3.11", PYTHON.format(version="3.11"))
    program(checkout / "bin" / "python3.12", "#!/bin/sh\necho 'pyenv: python3.12: command not found' >&2\nexit 127\n")
    program(checkout / "pyenv" / "bin" / "python", PYTHON.format(version="3.12"))
    program(checkout / "bin" / "pyenv", f'#!/bin/sh\n[ "$*" = "prefix 3.12" ] && echo "{checkout}/pyenv"\n')
    done, calls = run(checkout)
    assert done.returncode == 0, done.stderr
    assert "lint PYTHON=python3.11" in calls
    demos = sorted(call.split("/demo ")[0] for call in calls if call.startswith("compress"))
    assert demos == [
        f"compress VENV=.venv-3.12 PYTHON={checkout}/pyenv/bin/python ARGS=run.artifacts=.venv-3.12",
        "compress VENV=.venv-paddle3 PADDLE=3 PYTHON=python3.11 ARGS=run.artifacts=.venv-paddle3",
    ]
    assert calls[-1] == "test" and len(calls) == 6
    assert "note: no Python 3.10 here" in done.stdout
    assert "Python 3.12: done" in done.stdout and "Paddle 3: done" in done.stdout


def test_what_runs_on_paddle_is_tested_on_paddle_3_before_all_is_tested(checkout: Path) -> None:
    program(checkout / "bin" / "python3.11", PYTHON.format(version="3.11"))
    done, calls = run(checkout)
    assert done.returncode == 0, done.stderr
    tests, last = calls[-2:]
    assert tests.startswith("test PADDLE=3 PYTHON=python3.11 ARGS=") and last == "test"
    paths = tests.partition("ARGS=")[2].split()
    assert "tests/stages/paddle" in paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_a_test_that_fails_on_paddle_3_ends_it(checkout: Path) -> None:
    program(checkout / "bin" / "python3.11", PYTHON.format(version="3.11"))
    done, calls = run(checkout, fails="PADDLE=3*tests/")
    assert done.returncode == 2 and calls[-1].startswith("test PADDLE=3")


def test_a_demo_that_fails_ends_it_with_its_log_before_the_tests(checkout: Path) -> None:
    for version in ("3.10", "3.11", "3.12"):
        program(checkout / "bin" / f"python{version}", PYTHON.format(version=version))
    done, calls = run(checkout, fails="VENV=.venv-3.10")
    assert done.returncode == 1
    assert "make compress failed on Python 3.10" in done.stderr and "ModuleNotFoundError: planted" in done.stderr
    assert "types" in calls and "test" not in calls


def test_the_commands_without_paddle_are_tested_on_3_13(checkout: Path) -> None:
    for version in ("3.12", "3.13"):
        program(checkout / "bin" / f"python{version}", PYTHON.format(version=version))
    done, calls = run(checkout)
    assert done.returncode == 0, done.stderr
    assert "test-light VENV=.venv-3.13 PYTHON=python3.13 WORKERS=1" in calls and calls[-1] == "test"
    assert "lint PYTHON=python3.12" in calls and [c for c in calls if c.startswith("compress")] == [
        c for c in calls if ".venv-paddle3" in c
    ]
    assert "make test-light on Python 3.13: done" in done.stdout
    (checkout / "calls").unlink()
    done, calls = run(checkout, fails="test-light")
    assert done.returncode == 1 and "make test-light failed on Python 3.13" in done.stderr
    assert "ModuleNotFoundError: planted" in done.stderr and "test" not in calls


def test_environments_come_one_after_the_other_and_go_so_that_a_small_disk_holds_them(checkout: Path) -> None:
    for version in ("3.10", "3.11", "3.12", "3.13"):
        program(checkout / "bin" / f"python{version}", PYTHON.format(version=version))
    seen = f"""#!/bin/sh
        case "$1" in compress|test-light) echo {checkout}/.venv-* >>{checkout}/seen; sleep 0.1;; esac
        """
    program(checkout / "bin" / "make", seen)
    done = subprocess.run(
        ["bash", ".ci/run"], cwd=checkout, env={**os.environ, "PATH": str(checkout / "bin")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = (checkout / "seen").read_text().split()
    assert [Path(name).name for name in names] == [".venv-3.12", ".venv-3.10", ".venv-3.13", ".venv-paddle3"]
    assert not list(checkout.glob(".venv*"))


def test_little_room_is_said_before_anything_is_installed(checkout: Path) -> None:
    program(checkout / "bin" / "python3.11", PYTHON.format(version="3.11"))
    (checkout / "bin" / "df").unlink()
    for free, said in ((3, True), (30, False)):
        program(checkout / "bin" / "df", f"#!/bin/sh\necho Avail\necho '   {free}G'\n")
        done, calls = run(checkout)
        assert done.returncode == 0 and calls[-1] == "test"
        assert (f"warning: {free} GB are free here" in done.stderr) == said


def test_what_runs_beside_a_failed_lint_is_ended(checkout: Path) -> None:
    program(checkout / "bin" / "python3.11", PYTHON.format(version="3.11"))
    slow = f"""#!/bin/sh
        case "$1" in
          compress) echo $$ >{checkout}/pid; exec sleep 60;;
          lint) while [ ! -s {checkout}/pid ]; do sleep 0.05; done; exit 2;;
        esac
        """
    program(checkout / "bin" / "make", slow)
    done = subprocess.run(
        ["bash", ".ci/run"], cwd=checkout, env={**os.environ, "PATH": str(checkout / "bin")},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    left = int((checkout / "pid").read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{left}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{left}").exists()


def test_3_13_alone_runs_nothing_that_needs_paddle(checkout: Path) -> None:
    program(checkout / "bin" / "python3.13", PYTHON.format(version="3.13"))
    done, calls = run(checkout, fails="lint")
    assert done.returncode == 2 and "lint" in calls  # without PYTHON: make says what is needed


def test_without_any_python_make_says_what_is_needed(checkout: Path) -> None:
    done, calls = run(checkout, fails="lint")
    assert done.returncode == 2 and calls == ["lint"]
    assert "ModuleNotFoundError: planted" in done.stderr


@pytest.mark.parametrize("name", ["INT", "HUP"])
def test_programs_that_tests_start_hear_signals_also_where_the_tests_were_started_to_ignore_them(name: str) -> None:
    """`.ci/run` starts some with ``&``, which has a shell without job control ignore SIGINT; nohup ignores SIGHUP."""
    child = "import signal; print(signal.getsignal(signal.SIG" + name + ") != signal.SIG_IGN)"
    script = f"import subprocess, sys, tests.conftest; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    job = subprocess.run(
        ["sh", "-c", f'trap \'\' {name}; exec "$0" -c "$1"', sys.executable, script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert job.stdout == "True\n"
