"""Which Python the stages run on: named, the command's own, or found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.execution import interpreter, paddle_python
from pipelines.execution.interpreter import OWN, Interpreter
from stages.errors import ConfigError, InputError
from tests.conftest import ROOT
from tests.pythons import stand_in

PADDLE = {"paddlepaddle": "2.6.2", "paddledet": "2.6.0", "paddleslim": "2.6.0", "paddle2onnx": "1.3.1"}
WITHOUT = """
import sys
from pipelines.execution import interpreter, paddle_python
interpreter._own_version = lambda name: None if "paddle" in name else "1"
paddle_python._ROOT = paddle_python.Path("/nowhere")
from pipelines.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine whose own Python has no Paddle; its PATH is one folder, which is returned."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setattr(interpreter, "_own_version", lambda name: None)
    monkeypatch.setattr(paddle_python, "_ROOT", tmp_path / "checkout")
    (tmp_path / "bin").mkdir()
    paddle_python._found.cache_clear()
    yield tmp_path / "bin"
    paddle_python._found.cache_clear()


def test_one_that_is_named_is_taken_by_its_path_or_its_name(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stand_in(bare / "python3.11", tmp_path / "site", **PADDLE)
    monkeypatch.chdir(tmp_path)
    for named in (str(path), "python3.11", "bin/python3.11"):
        assert paddle_python.paddle_python(named).path == str(path)
        assert paddle_python.paddle_python(named).version_of("paddlepaddle") == "2.6.2"


def test_one_that_lacks_something_is_refused_with_what_it_lacks(bare: Path, tmp_path: Path) -> None:
    packages = {name: version for name, version in PADDLE.items() if name != "paddleslim"}
    path = stand_in(bare / "python3.11", tmp_path / "site", **packages)
    with pytest.raises(ConfigError) as raised:
        paddle_python.paddle_python(str(path))
    (problem,) = raised.value.problems
    assert problem.startswith(f"run.paddle_python: {path} (Python ") and " has no paddleslim; name " in problem
    for named in ("python3.99", str(tmp_path / "none")):
        with pytest.raises(ConfigError, match=r"run\.paddle_python: "):
            paddle_python.paddle_python(named)


def test_paddle_for_gpus_will_do(bare: Path, tmp_path: Path) -> None:
    packages = {**PADDLE, "paddlepaddle_gpu": "2.6.2"}
    del packages["paddlepaddle"]
    assert paddle_python.paddle_python(str(stand_in(bare / "p", tmp_path / "site", **packages))).path


def test_the_own_one_is_taken_if_it_has_paddle(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(bare / "python3.11", tmp_path / "site", **PADDLE)
    monkeypatch.setattr(interpreter, "_own_version", lambda name: "2.6.2")
    assert paddle_python.paddle_python(None) is OWN


@pytest.mark.parametrize("place", ["checkout/.venv/bin/python", "bin/python3.12", "pyenv/versions/3.10.7/bin/python"])
def test_one_with_paddle_is_found(bare: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "pyproject.toml").touch()
    stand_in(bare / "python3.11", tmp_path / "empty", numpy="1.0")  # without Paddle: passed over
    (bare / "python3").write_text("#!/bin/sh\nexit 127\n")
    (bare / "python3").chmod(0o755)
    path = stand_in(tmp_path / place, tmp_path / "site", **PADDLE)
    assert paddle_python.paddle_python(None).path == str(path)
    paddle_python.require_paddle(None)


def test_uv_is_asked_for_its_own(bare: Path, tmp_path: Path) -> None:
    path = stand_in(tmp_path / "project" / "python", tmp_path / "site", **PADDLE)
    (bare / "uv").write_text(f'#!/bin/sh\n[ "$1 $2 $4" = "python find 3.12" ] && echo "{path}"\n')
    (bare / "uv").chmod(0o755)
    assert paddle_python.paddle_python(None).path == str(path)


def test_where_none_has_paddle_the_line_says_what_to_do(bare: Path) -> None:
    assert paddle_python.paddle_python(None) is OWN
    with pytest.raises(InputError):
        paddle_python.require_paddle(None)
    new = paddle_python.missing(Interpreter("/p", {"python": "3.13.0", "packages": {}}))
    assert "no build for Python 3.13.0" in new and new.endswith("name it: run.paddle_python=.venv/bin/python")
    assert "detpress doctor" in paddle_python.missing(Interpreter("/p", {"python": "3.12.1", "packages": {}}))


@pytest.mark.parametrize("command", ["compress", "finetune", "sensitivity"])
def test_a_command_without_paddle_ends_with_2_and_one_line_before_anything_runs(tmp_path: Path, command: str) -> None:
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, command, "experiment=demo", f"run.artifacts={tmp_path / 'a'}"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: Paddle ") and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
