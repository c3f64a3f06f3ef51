"""Output that nobody takes changes exit codes as documented, and no run."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from pipelines.runs import history
from pipelines.runs.run import open_run
from pipelines.system.output import VERBOSE, Lossy, told_more, verbose
from tests.conftest import ROOT
from tests.pipelines import stub_pipeline
from tests.pipelines.test_cli import RUNS, stub

RUN = """
    from tests.pipelines import stub_pipeline
    from pipelines.runs.console import ConsoleObserver
    stub_pipeline.run(Path("artifacts"), observers=[ConsoleObserver()])
    print("x" * 200_000)"""
"""A whole run of stub stages, told on standard error, and more on standard output than a pipe holds."""


@contextmanager
def nobody(kind: str) -> Iterator[IO[bytes]]:
    """An output whose reader has left, or whose disk is full."""
    if kind == "full":
        with Path("/dev/full").open("wb") as full:
            yield full
        return
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as stream:  # noqa: PTH123
        yield stream


def start(folder: Path, *arguments: str, script: str | None = None, **streams: object) -> subprocess.Popen[bytes]:
    begin = ["-m", "pipelines.cli"] if script is None else ["-c", script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *begin, *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, **streams)  # type: ignore[call-overload,no-any-return]


def states(folder: Path) -> list[str]:
    found = [history.read_state(run) for run in history.folders(folder / "artifacts")]
    return [state["status"] for state in found if state]


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("kind", ["left", "full"])
def test_a_run_ends_as_it_would(tmp_path: Path, kind: str, code: int) -> None:
    with nobody(kind) as out, nobody(kind) as err:
        done = start(tmp_path, "compress", RUNS, script=stub(RUN, code), stdout=out, stderr=err).wait(120)
    assert (done, states(tmp_path)) == (code, ["FINISHED"])


def test_a_full_output_is_told(tmp_path: Path) -> None:
    with nobody("full") as out:
        child = start(tmp_path, "compress", RUNS, script=stub(), stdout=out, stderr=subprocess.PIPE)
        _, said = child.communicate(timeout=120)
    assert (child.returncode, said.decode()) == (
        0, "standard output cannot be written: No space left on device; what was done is kept\n"
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "code"), [("left", 141), ("full", 4)])
@pytest.mark.parametrize("arguments", [["runs"], ["--help"], ["doctor", "--help"]])
def test_what_only_shows_something_has_not_shown_it(tmp_path: Path, kind: str, code: int, arguments: list[str]) -> None:
    with nobody(kind) as out:
        child = start(tmp_path, *arguments, stdout=out, stderr=subprocess.PIPE)
        _, said = child.communicate(timeout=120)
    assert child.returncode == code
    assert len(said.decode().splitlines()) == (kind == "full")


def test_what_is_refused_is_refused_whoever_reads_it(tmp_path: Path) -> None:
    with nobody("left") as out, nobody("left") as err:
        assert start(tmp_path, "runs", "--nonsense", stdout=out, stderr=err).wait(120) == 2
        assert start(tmp_path, "compress", "seed=x", stdout=out, stderr=err).wait(120) == 2


def test_a_run_that_is_stopped_while_nobody_reads_is_finished(tmp_path: Path) -> None:
    child = start(tmp_path, "compress", RUNS, script=stub(RUN), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    limit = time.monotonic() + 120
    while states(tmp_path) != ["FINISHED"] and time.monotonic() < limit:
        time.sleep(0.05)
    select.select([child.stdout], [], [], 120)  # it has begun to fill the pipe, and waits
    child.send_signal(signal.SIGTERM)
    assert child.wait(120) == 143
    child.stdout.close()
    assert states(tmp_path) == ["FINISHED"]


def test_nothing_that_happens_afterwards_changes_how_a_run_ended(tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    for stop in (OSError(28, "full"), KeyboardInterrupt(), SystemExit(143), BrokenPipeError()):
        config = stub_pipeline.PipelineConfig()
        config.model.name, config.run.artifacts = "stub", str(artifacts)
        with (
            pytest.raises(BaseException, match=r".*"),
            open_run(config, pipeline="compress", command=["stub"], observers=[]) as run,
        ):
            run.finish("FINISHED", {})
            raise stop
    assert states(tmp_path) == ["FINISHED"] * 4


def test_a_stream_that_lost_something_takes_no_more(tmp_path: Path) -> None:
    with nobody("full") as full:
        stream = Lossy(open(os.dup(full.fileno()), "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        assert stream.write("text") == 4 and stream.lost is None
        stream.flush()
        assert stream.lost is not None and stream.lost.errno == 28
        assert stream.write("more") == 4
        assert (stream.encoding, stream.isatty()) == ("utf-8", False)
        stream.close()  # what was buffered goes nowhere, and that is no error


def test_verbose_holds_for_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VERBOSE, raising=False)
    with told_more(False):
        assert not verbose()
    with told_more(True):
        assert verbose()
    assert not verbose() and VERBOSE not in os.environ
    monkeypatch.setenv(VERBOSE, "1")
    with told_more(True):
        assert verbose()
    assert os.environ[VERBOSE] == "1"
