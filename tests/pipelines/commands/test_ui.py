"""The server that ``detpress ui`` starts shows the observer's runs, on the local interface only, and ends cleanly."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from pipelines.cli import main
from pipelines.commands.ui import _absolute, _await, _post, run_ui
from pipelines.config.options.tracking import TrackingOptions
from pipelines.tracking.observer import MlflowObserver
from stages.errors import InputError
from stages.processes import python
from stages.processes.children import Child
from tests.conftest import ROOT
from tests.pipelines.tracking.test_observer import closed_port, tell_small_run
from tests.poison import poison, ran
from tests.stages.processes.test_children import assert_gone, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def read_link(stream: IO[str], seconds: float = 60) -> str:
    """The printed link; the timer ends the wait by closing the pipe's other end."""
    for line in stream:
        if "/#/" in line:
            return line.strip()
    raise AssertionError(f"no link within {seconds} s")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_server_shows_the_runs_and_ends_cleanly(tmp_path: Path, how: signal.Signals) -> None:
    options = TrackingOptions(folder=str(tmp_path / "mlflow"))
    tell_small_run(MlflowObserver(options), tmp_path, "shown")
    port = closed_port()
    foreign = poison(tmp_path / "foreign")
    command = python.command("pipelines.cli", "ui", "--artifacts", str(tmp_path), "--port", str(port))
    ui = subprocess.Popen(command, cwd=foreign, env=python.environment(), stdout=subprocess.PIPE, text=True)
    assert ui.stdout is not None
    watchdog = threading.Timer(120, ui.kill)
    watchdog.start()
    try:
        link = read_link(ui.stdout)
        children = psutil.Process(ui.pid).children(recursive=True)
        listening = {c.laddr.ip for p in children for c in p.net_connections("tcp") if c.laddr.port == port}
        assert listening == {"127.0.0.1"}
        base = f"http://127.0.0.1:{port}"
        assert link.startswith(f"{base}/#/experiments/")
        assert link.endswith("workflowType=machine_learning")
        experiment = link.split("/")[5]
        body = {"experiment_ids": [experiment], "filter": "tags.run_id = 'shown'"}
        runs = {r["info"]["run_name"]: r for r in _post(base, "runs/search", body)["runs"]}
        assert set(runs) == {"shown", "distill"}
        tags = {t["key"]: t["value"] for t in runs["distill"]["data"]["tags"]}
        assert tags["mlflow.parentRunId"] == runs["shown"]["info"]["run_id"]
        ui.send_signal(how)
        assert ui.wait(30) == 0
        _, alive = psutil.wait_procs(children, timeout=5)
        assert alive == []
        assert ran(foreign) == ""
    finally:
        watchdog.cancel()
        if ui.poll() is None:
            ui.send_signal(signal.SIGTERM)
            ui.wait(60)
        ui.stdout.close()


@pytest.mark.parametrize("port", ["99999", "0", "-1", "http", "5000.5", ""])
def test_what_is_no_port_is_one_clear_line(port: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", "--artifacts", str(tmp_path), f"--port={port}"]) == 2
    out, err = capfd.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith(f"error: --port {port}: not a port; choose a number")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Artifacts with a run in their database."""
    tell_small_run(MlflowObserver(TrackingOptions(folder=str(tmp_path / "mlflow"))), tmp_path, "shown")
    return tmp_path


def ui_command(folder: Path, port: int) -> list[str]:
    return python.command("pipelines.cli", "ui", "--artifacts", str(folder), "--port", str(port))


def family(pid: int) -> list[int]:
    """MLflow's command, the web server that it starts, and the reaper."""
    found = [one.pid for one in psutil.Process(pid).children(recursive=True)]
    assert len(found) >= 3
    return found


@pytest.mark.slow
def test_nothing_is_left_running_of_one_that_is_killed(folder: Path) -> None:
    command = ui_command(folder, closed_port())
    with subprocess.Popen(command, env=python.environment(), stdout=subprocess.PIPE, text=True) as ui:
        assert ui.stdout is not None
        read_link(ui.stdout)
        started = family(ui.pid)
        ui.kill()
        assert_gone(started)


@pytest.mark.slow
def test_nothing_is_left_running_when_the_terminal_is_closed(folder: Path) -> None:
    command = ui_command(folder, closed_port())
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, python.environment())
    with os.fdopen(terminal, encoding="utf-8") as stream:
        read_link(stream)
        started = [pid, *family(pid)]
    reaped = threading.Thread(target=os.waitpid, args=(pid, 0))
    reaped.start()
    assert_gone(started)
    reaped.join()


@pytest.mark.slow
def test_of_two_on_one_port_the_second_says_so(folder: Path) -> None:
    """Both find the port free, and start a server: the one that answers is that of the first."""
    command = ui_command(folder, closed_port())
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, env=python.environment(), **pipes) for _ in range(2)]  # type: ignore[call-overload]
    try:
        wait_until(lambda: any(one.poll() is not None for one in both), "the end of one")
        (loser,) = [one for one in both if one.poll() is not None]
        (winner,) = [one for one in both if one is not loser]
        out, err = loser.communicate(timeout=60)
        assert (loser.returncode, out) == (2, "")
        assert re.fullmatch(r"error: cannot listen on 127\.0\.0\.1:\d+: .*; choose another with --port.*\n", err)
        read_link(winner.stdout)
        winner.send_signal(signal.SIGTERM)
        assert winner.wait(60) == 0
    finally:
        for one in both:
            one.kill()
            one.communicate()


class Healthy(BaseHTTPRequestHandler):
    """Answers as MLflow's server does when it is asked how it is."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_the_answer_of_another_server_is_not_taken_for_its_own(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), Healthy) as other, (tmp_path / "log").open("w+") as log:
        port = other.server_address[1]
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        process = Child(["sleep", "1"], env=python.environment())
        try:
            with pytest.raises(InputError, match=rf"cannot listen on 127\.0\.0\.1:{port}: "):
                _await(process, "127.0.0.1", port, log)
        finally:
            process.end()
            other.shutdown()
            thread.join()


def test_its_own_server_is_known_by_the_process_that_listens(tmp_path: Path) -> None:
    """Also one that the process has started."""
    port = closed_port()
    script = (
        "import http.server; import sys; sys.path.insert(0, {root!r}); from tests.pipelines.commands.test_ui import *"
    )
    script = f"{script.format(root=str(ROOT))}; HTTPServer(('127.0.0.1', {port}), Healthy).serve_forever()"
    process = Child(["sh", "-c", '"$0" -c "$1"; true', sys.executable, script], env=python.environment())
    with (tmp_path / "log").open("w+") as log:
        try:
            _await(process, "127.0.0.1", port, log)
            assert process.poll() is None
        finally:
            process.end()


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match=r"cannot listen on 127\.0\.0\.1:\d+: .*choose another with --port"):
            run_ui(TrackingOptions(folder=str(tmp_path)), port=taken.getsockname()[1])


def test_a_server_of_someone_else_is_named_and_not_started(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_ui(TrackingOptions(uri="http://u:hunter2@10.0.0.1:5000")) == 0
    said = capsys.readouterr().out
    assert "http://***@10.0.0.1:5000/#/" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("uri", "absolute"),
    [
        ("sqlite:///runs.db", "sqlite:///{here}/runs.db"),
        ("sqlite:////data/runs.db", "sqlite:////data/runs.db"),
        ("./mlruns", "{here}/mlruns"),
        ("file:mlruns", "file:{here}/mlruns"),
        ("file:///data/mlruns", "file:///data/mlruns"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
    ],
)
def test_the_server_finds_a_store_wherever_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, absolute: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _absolute(uri) == absolute.format(here=tmp_path)
