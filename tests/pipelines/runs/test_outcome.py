"""What a run ends with: a backend that this machine lacks is no failure beside one that ran."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from pipelines import cli
from pipelines.commands.hydra_command import worst
from pipelines.execution.runner import Results
from pipelines.runs.outcome import exit_code
from stages.errors import AgreementError, DataError, DetpressError, StageError, UnavailableError
from tests.conftest import ROOT

LACKS = UnavailableError("backend tensorrt is unavailable: the package tensorrt is not installed")


def report(*statuses: str, gates: str = "") -> dict[str, Any]:
    return {"rows": [{"status": s} for s in statuses], "gates": [{"verdict": g} for g in gates.split(",") if g]}


@pytest.mark.parametrize(
    ("errors", "content", "require_all", "code"),
    [
        ([], report("ok", "ok"), False, 0),
        ([], report("ok", gates="pass,fail"), False, 3),
        ([], report("ok", gates="pass,not judged"), False, 3),  # nobody was shown that it holds
        ([], report("ok", gates="undecided,pass"), False, 3),
        ([LACKS, LACKS], report("ok", "unavailable"), False, 0),
        ([LACKS], report("ok", "unavailable"), True, 4),
        ([LACKS], report("ok", "unavailable", gates="fail"), False, 3),
        ([LACKS], report("ok", "unavailable", gates="pass,left out"), False, 0),
        ([LACKS], report("unavailable", "unavailable"), False, 4),
        ([LACKS, StageError("it broke")], report("ok", "failed"), False, 4),
        ([AgreementError("export")], report(), False, 4),
        ([], report("ok", "failed", gates="fail"), False, 4),  # an engine that disagrees with the reference
        ([LACKS, DataError("no images")], report("ok"), False, 2),
    ],
)
def test_exit_codes(errors: list[DetpressError], content: dict[str, Any], require_all: bool, code: int) -> None:
    results = Results(failures={f"stage{i}": error for i, error in enumerate(errors)})
    assert exit_code(results, content, require_all=require_all) == code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_has_its_own(number: signal.Signals, code: int) -> None:
    """In a process of its own: what other tests leave of handlers and children has no part in it."""
    program = f"""
import os, signal, sys, time
from pipelines import cli
from pipelines.commands import runs

def stopped(arguments, debug):
    os.kill(os.getpid(), {int(number)})
    time.sleep(5)
    return 0

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
runs.main = stopped
sys.exit(cli.main(["runs"]))
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert f"stopped by {number.name}" in done.stderr
    assert "130 and 143" in " ".join(cli.help_text().split())


def test_the_codes_of_a_sweep() -> None:
    assert [worst(codes) for codes in ([], [0, 0], [0, 4, 3], [5, 5], [5, 0], [5, 3])] == [0, 0, 4, 5, 0, 3]
