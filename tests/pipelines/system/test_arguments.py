"""Wrong words of a command line: argparse's message on one line."""

from __future__ import annotations

import pytest

from pipelines.system.arguments import Parser
from stages.errors import ExitCode


@pytest.mark.parametrize("word", ["a\nerror: b", "a\x1b[2J", "x" * 9000])
def test_a_wrong_word_is_told_on_one_line(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        Parser(prog="detpress x").parse_args([word])
    assert stop.value.code == ExitCode.WRONG_INPUT
    usage, message = capsys.readouterr().err.splitlines()
    assert usage == "usage: detpress x [-h]"
    assert message.startswith("detpress x: error: unrecognized arguments: ") and len(message) < 500
    assert message.isprintable()
