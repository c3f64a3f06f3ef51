"""Completion in real shells, and through Hydra's own flag; how much it loads."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.commands.completion import SCRIPTS
from pipelines.commands.completion_words import SHELLS
from tests.conftest import ROOT
from tests.test_imports import HEAVY


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two runs, where ``detpress`` is found."""
    program = tmp_path / "bin" / "detpress"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pipelines.cli "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HOME", str(tmp_path))
    for run in ("20260101-aaa", "20260102-bbb"):
        (tmp_path / "artifacts" / "runs" / run).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


BASH = """
eval "$(detpress completion bash)"
COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=()
_detpress
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("detpress comp", "compare completion compress"),
        ("detpress schedule run-", "run-now"),
        ("detpress report ", "20260101-aaa 20260102-bbb latest"),
        ("detpress report 20260102", "20260102-bbb"),
        ("detpress compress compression.tem", "compression.temperature="),
        ("detpress compress seed=1 compression.ptq_algo=h", "hist"),  # bash itself keeps what is before the `=`
        ("detpress compress data.root=/", ""),  # files are the shell's to name
    ],
)
def test_bash_offers_what_fits(shell: Path, line: str, expected: str) -> None:
    assert said("bash", "-c", BASH, "-", line).split() == expected.split()


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_offers_what_fits(shell: Path) -> None:
    script = 'detpress completion fish | source; complete -C "detpress schedule sto"'
    assert said("fish", "--no-config", "-c", script).split() == ["stop"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_can_read_its_lines(shell: Path) -> None:
    assert said("zsh", "-f", "-n", "-c", SCRIPTS["zsh"]) == ""


@pytest.mark.parametrize("name", SHELLS)
def test_each_shell_gets_its_lines(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", name]) == 0
    assert "detpress" in (lines := capsys.readouterr().out) and lines == SCRIPTS[name]
    assert main(["compress", "-sc", f"install={name}"]) == 0
    assert capsys.readouterr().out == lines
    assert main(["compress", "--shell-completion", f"uninstall={name}"]) == 0
    assert "detpress" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["completion"], ["completion", "tcsh"], ["compress", "-sc", "install=tcsh"]])
def test_another_shell_is_refused_in_a_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "name one of bash, zsh, fish" in " ".join(capsys.readouterr().err.split())


def test_hydras_own_flag_answers_for_the_whole_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", "detpress  compress seed=1 gate=s")
    assert main(["compress", "-sc", "query=bash"]) == 0
    assert capsys.readouterr().out == "gate=strict\n"
    assert main(["compress", "-sc", "seed=1"]) == 2
    assert "install=SHELL" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("word", ["", "compression.", "compression.ptq_algo=", "model="])
def test_nothing_is_loaded_that_is_not_needed(word: str) -> None:
    slow = HEAVY | {"rich", "omegaconf", "yaml", "numpy", "apscheduler", "psutil"}
    script = "import sys; from pipelines.cli import main; main(sys.argv[1:])\n"
    script += f"print('loaded', sorted({slow!r} & set(sys.modules)))"
    lines = said(sys.executable, "-c", script, "completion", "words", "compress", word).splitlines()
    assert lines[-1] == "loaded []" and len(lines) > 2


@pytest.mark.timing
def test_a_word_takes_no_longer_than_a_few_starts_of_python() -> None:
    def least(*arguments: str) -> float:
        took = []
        for _ in range(5):  # the best of five: the machine may be busy
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT)
            took.append(time.perf_counter() - started)
        return min(took)

    words = ("-m", "pipelines.cli", "completion", "words", "compress")
    assert least(*words, "compression.") < 12 * least("-c", "pass")
