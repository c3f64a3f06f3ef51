"""The server that ``detpress ui`` starts shows the observer's runs, on the local interface only, and ends cleanly."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import IO

import psutil
import pytest

from pipelines.cli import main
from pipelines.commands.ui import _absolute, _post, run_ui
from pipelines.config.options.tracking import TrackingOptions
from pipelines.tracking.observer import MlflowObserver
from stages.errors import InputError
from stages.processes import python
from tests.pipelines.tracking.test_observer import closed_port, tell_small_run
from tests.poison import poison, ran

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def read_link(stream: IO[str], seconds: float = 60) -> str:
    """The printed link; the timer ends the wait by closing the pipe's other end."""
    for line in stream:
        if "/#/" in line:
            return line.strip()
    raise AssertionError(f"no link within {seconds} s")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
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
