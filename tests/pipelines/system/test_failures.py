"""Errors on the terminal: a message is one line whatever is in it, and the lines that belong under it stay lines."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pipelines.execution.events import StageInfo
from pipelines.runs.console import ConsoleObserver
from pipelines.system.failures import shown, tell
from stages.errors import ConfigError, DataError, DetpressError, ExitCode, StageCrashed

FORGED = "a\nerror: all is lost\x1b[2J"
ESCAPED = r"a\nerror: all is lost\x1b[2J"


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (DataError(f"there is no image {FORGED}"), [f"there is no image {ESCAPED}"]),
        (
            ConfigError([f"{FORGED}: no such option", "seed: too"]),
            ["the config has 2 problems:", f"  - {ESCAPED}: no such option", "  - seed: too"],
        ),
        (StageCrashed("it died; its last lines:", ["    one", f"    {FORGED}"]),
         ["it died; its last lines:", "    one", f"    {ESCAPED}"]),
    ],
)  # fmt: skip
def test_an_error_is_one_line_and_its_details(
    error: DetpressError, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(error).split("\n") == lines
    assert tell(error, debug=False) == error.exit_code
    assert capsys.readouterr().err.split("\n") == [f"error: {lines[0]}", *lines[1:], ""]
    console = Console(file=io.StringIO(), width=80)
    ConsoleObserver(console).stage_failed(StageInfo(id="build.stub.int8", stage="build", key="k"), error, 1.0)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue().splitlines()
    assert [line.strip() for line in said[1:]] == [line.strip() for line in lines]


def test_an_unforeseen_error_shows_its_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(ValueError(f"\x9b{'y' * 9000}\rb\nsecond"), debug=False) == ExitCode.STAGE_FAILED
    said = capsys.readouterr().err
    assert said.startswith(r"unexpected error: ValueError: \x9byyy") and said.count("\n") == 1 and len(said) < 600


def test_a_path_that_is_too_long_is_wrong_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(OSError(36, "File name too long", "x" * 9000), debug=False) == ExitCode.WRONG_INPUT
    assert "a path of 9000 characters" in capsys.readouterr().err
