"""Messages between processes: lines of JSON, and errors that keep their class on the other side."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from stages.errors import ConfigError, DataError, ExitCode, StageCrashed, StageError
from stages.processes.pipes import error_from_json, error_to_json, receive, send
from tests.conftest import ROOT


def crossed(error: Exception) -> dict[str, object]:
    """What the other side gets of an error that is handled here."""
    try:
        raise error
    except Exception as caught:
        content: dict[str, object] = json.loads(json.dumps(error_to_json(caught)))
    return content


def test_messages_arrive_and_one_that_was_cut_off_is_left_out() -> None:
    stream = io.StringIO()
    send(stream, {"done": 1})
    send(stream, {"text": "ä\nb"})
    stream.write('{"done": 2')  # its sender died
    stream.seek(0)
    assert list(receive(stream)) == [{"done": 1}, {"text": "ä\nb"}]


@pytest.mark.parametrize(
    "error",
    [
        DataError("no images"),
        DataError("no image a\nb"),
        StageCrashed("it died:", ["  one", "  two"]),
        ConfigError(["a: wrong", "b:\n too"]),
    ],
)
def test_an_error_keeps_its_class_its_text_and_its_traceback(error: Exception) -> None:
    rebuilt = error_from_json(crossed(error))
    assert type(rebuilt) is type(error) and str(rebuilt) == str(error)
    assert rebuilt.exit_code == error.exit_code  # type: ignore[attr-defined]
    assert (rebuilt.message, rebuilt.details) == (error.message, error.details)  # type: ignore[attr-defined]
    assert rebuilt.trace.startswith("Traceback") and str(error) in rebuilt.trace


def test_an_error_that_is_not_ours_is_a_stage_error_that_names_it() -> None:
    rebuilt = error_from_json(crossed(KeyError("scale")))
    assert type(rebuilt) is StageError and str(rebuilt) == "KeyError: 'scale'"
    rebuilt = error_from_json(crossed(ValueError("first\nsecond")))
    assert (rebuilt.message, rebuilt.details) == ("ValueError: first", ("second",))
    # A library's error of the same name as one of ours stays what it is.
    theirs = type("DataError", (Exception,), {})("of a database")
    assert type(error_from_json(crossed(theirs))) is StageError


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("return 3", 3),
        ("raise SystemExit(143)", 143),
        ("raise SystemExit('no')", ExitCode.STAGE_FAILED),
        ("raise SystemExit", 0),
        ("1 / 0", ExitCode.STAGE_FAILED),
    ],
)
def test_a_process_ends_with_its_code_and_without_the_interpreters_shutdown(body: str, code: int) -> None:
    script = f"""
import atexit
from stages.processes.pipes import exit_at_once
atexit.register(print, "shutdown", flush=True)
def main():
    {body}
exit_at_once(main)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (code, "")
