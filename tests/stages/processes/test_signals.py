"""A signal is heard meanwhile and no longer; one that a shell had us ignore stays ignored, whoever would hear it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from stages.processes.signals import heard, kept
from tests.conftest import ROOT

ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HEARERS = {
    "heard": "from stages.processes.signals import heard as of; context = of((signal.SIGINT, signal.SIGTERM), print)",
    "a training": "from stages.training.stopping import stop_requests as of; context = of()",
    "a scheduler": "from pipelines.scheduling.serving import stopping as of; context = of(threading.Event())",
    "a command": "from pipelines.system.signals import stopped_by as of; context = of()",
}
JOB = """
import signal, threading
{hearer}
def now(): return [getattr(signal.getsignal(n), "name", "ours") for n in (signal.SIGINT, signal.SIGTERM)]
before = now()
with context:
    inside = now()
print(before, inside, now() == before)
"""

HEARD = """
import signal
from stages.processes.signals import heard
asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
before = [signal.getsignal(number) for number in asked]
caught = []
try:
    with heard(asked, lambda number, frame: caught.append(number)):
        for number in asked:
            signal.raise_signal(number)
        raise KeyError
except KeyError:
    pass
assert caught == list(asked), caught
assert [signal.getsignal(number) for number in asked] == before
"""


@pytest.mark.parametrize("hearer", HEARERS.values(), ids=HEARERS)
def test_the_background_job_of_a_script_goes_on_ignoring_ctrl_c(hearer: str) -> None:
    job = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" & wait', sys.executable, JOB.format(hearer=hearer)],  # a shell without job control
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert job.stdout == "['SIG_IGN', 'SIG_DFL'] ['SIG_IGN', 'ours'] True\n"


def test_others_hear_it_again_afterwards_also_if_something_went_wrong() -> None:
    # In a process of its own: a signal that nobody hears would end the one that runs the tests.
    done = subprocess.run(
        [sys.executable, "-c", HEARD], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_what_a_library_takes_is_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with kept(ASKED):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_threads_hear_none() -> None:
    before = [signal.getsignal(number) for number in ASKED]
    seen = []

    def elsewhere() -> None:
        with heard(ASKED, lambda number, frame: None), kept(ASKED):
            seen.append([signal.getsignal(number) for number in ASKED])

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]
