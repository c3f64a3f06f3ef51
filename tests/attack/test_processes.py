"""Modules of somebody else in the folder of a run, of a data set or on PYTHONPATH: no process of ours imports them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.execution.ray_sweep import run_job
from pipelines.execution.worker import run_worker
from stages.processes import python
from tests.conftest import ROOT
from tests.pipelines.stored_runs import remembered
from tests.poison import NAMES, enter, poison, ran

DRAW = {"train": 1, "unlabeled": 1, "val": 1, "size": [64, 64], "seed": 7}


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder with packages named as ours, the libraries' and Python's."""
    folder = poison(tmp_path / "theirs")
    for name in NAMES:  # as single modules too
        (folder / f"{name}.py").write_text((folder / name / "__init__.py").read_text())
    return folder


def test_e_reproduce_and_the_jobs_of_a_sweep_import_nothing_from_the_runs_folder(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    remembered(tmp_path / "a", "r", command="detpress --version", folder=str(planted))
    assert main(["reproduce", "r", "--run", "--artifacts", str(tmp_path / "a")]) == 0
    assert capfd.readouterr().out.splitlines()[-1].startswith("detpress ")
    words = ("pipelines.execution.ray_sweep", "pipelines.cli", "--version")
    ways = [python.command(*words)[1:], python.elsewhere(*words)]
    code, out, err = run_job(ways, python.STARTER, str(planted), {})
    assert (code, err) == (0, "") and out.startswith("detpress ")
    assert ran(planted) == ""


@pytest.mark.parametrize("command", ["/bin/sh -c 'touch ran'", 'python -c \'open("ran", "w")\'', "a -c b", "../x y"])
def test_reproduce_runs_detpress_whatever_the_record_says(
    command: str, planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first word of the recorded command is not what is started."""
    monkeypatch.chdir(tmp_path)
    remembered(tmp_path / "a", "r", command=command, folder=str(planted))
    assert main(["reproduce", "r", "--run", "--artifacts", str(tmp_path / "a")]) == 2
    assert capfd.readouterr().err.splitlines()[-1].startswith("error: ")
    assert not list(tmp_path.rglob("ran")) and ran(planted) == ""


@pytest.mark.parametrize("folder", ["/nowhere", "", "\0", "a\nb", "/dev/null", "x" * 5000])
def test_the_folder_of_a_record_may_be_gone(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    remembered(tmp_path / "a", "r", command="detpress --version", folder=folder)
    assert main(["reproduce", "r", "--run", "--artifacts", str(tmp_path / "a")]) == 2
    assert [line[:7] for line in capfd.readouterr().err.splitlines()][-1] == "error: "


def test_a_worker_loads_our_stages_beside_others_of_their_name(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(planted, monkeypatch)
    own = tmp_path / "own"
    for name in ("out", "work"):
        (own / name).mkdir(parents=True)
    request = {"stage": "draw", "options": DRAW, "inputs": {}, "out": str(own / "out"), "work": str(own / "work"),
               "seed": 0, "threads": 1}  # fmt: skip
    made = run_worker(request, folder=own, log=own / "log.txt", on_event=lambda event: None)
    assert len(made.files) == 5 and ran(planted) == ""


@pytest.mark.parametrize("words", ["runs", "verify x.zip", "doctor", "plan data=shapes", "import-config x.yml"])
def test_a_folder_that_was_removed_meanwhile_is_told(words: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = _in_a_shell(f"rmdir {gone} && exec {sys.executable} -m pipelines.cli {words}", gone)
    assert done.returncode == 2 and done.stderr.startswith("error: the current folder is not there any more")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_streams_that_are_closed_end_no_command_and_are_no_file_of_ours(closed: str, tmp_path: Path) -> None:
    done = _in_a_shell(f"exec {sys.executable} -m pipelines.cli runs {closed}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    opened = "import os, detpress; detpress._open_streams(); raise SystemExit(os.open('f', os.O_CREAT | os.O_RDWR))"
    done = _in_a_shell(f'exec {sys.executable} -c "{opened}" {closed}', tmp_path)
    assert done.returncode > 2


def _in_a_shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(["sh", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=120)
