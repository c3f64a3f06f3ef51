"""Wrong words of a command line: argparse's message on one line."""

from __future__ import annotations

import argparse

import pytest

from pipelines.system.arguments import Parser, share
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


def test_a_share_is_a_number_from_0_to_1() -> None:
    assert [share(text) for text in ("0", "0.5", "1e-3", "1")] == [0, 0.5, 0.001, 1]
    for text in ("nan", "inf", "-0.1", "1.01", "", "x", "1" * 5000):
        with pytest.raises(argparse.ArgumentTypeError, match="from 0 to 1"):
            share(text)
