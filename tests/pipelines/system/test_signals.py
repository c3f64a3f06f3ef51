"""A closed terminal stops a command in order, as SIGTERM does; `nohup` and threads are respected."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from pipelines.system.signals import STOPS, stopped_by
from stages.errors import ExitCode
from tests.conftest import ROOT

WAITS = """
import os, sys, time
from pipelines import cli
from pipelines.commands import runs
def waits(arguments, debug):
    try:
        print("waits", flush=True)
        time.sleep(60)
    finally:
        time.sleep(0.3)
        os.write(1, b"in order\\n")
runs.main = waits
sys.exit(cli.main(["runs"]))
"""


def started(*before: str) -> subprocess.Popen[str]:
    """A command that waits, by ``before``."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([*before, sys.executable, "-c", WAITS], env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "waits\n"
    return process


@pytest.mark.parametrize("number", STOPS)
def test_a_command_that_is_told_to_stop_or_loses_its_terminal_ends_in_order(number: signal.Signals) -> None:
    with started() as process:
        process.send_signal(number)
        if number == signal.SIGHUP:  # the kernel sends one, the shell another
            process.send_signal(number)
        assert process.wait(60) == ExitCode.TERMINATED
        assert process.stdout is not None and process.stdout.read() == "in order\n"


def test_what_nohup_ignores_stays_ignored() -> None:
    with started("nohup") as process:
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.terminate()
        assert process.wait(60) == ExitCode.TERMINATED


def test_handlers_are_as_before_afterwards_and_threads_have_none() -> None:
    before = [signal.getsignal(number) for number in STOPS]
    with stopped_by():
        inside = [signal.getsignal(number) for number in STOPS]
        thread = threading.Thread(target=lambda: stopped_by().__enter__())
        thread.start()
        thread.join()
        assert [signal.getsignal(number) for number in STOPS] == inside != before
    assert [signal.getsignal(number) for number in STOPS] == before
