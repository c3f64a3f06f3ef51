"""The real scheduler with its database, and a real MLflow server, killed in the middle: nothing lost, nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.cli import main
from pipelines.commands import ui
from pipelines.commands.schedule import put
from pipelines.config.options.tracking import TrackingOptions
from pipelines.runs import history
from pipelines.scheduling import records
from pipelines.scheduling.jobs import Spec
from pipelines.tracking.client import connect
from tests.conftest import ROOT
from tests.pipelines.scheduling.helpers import plan, spans, spec_for, store_of, wait_for
from tests.pipelines.stub_pipeline import graph
from tests.pipelines.tracking.test_observer import closed_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server of our own; it takes seconds to start, so the tests share it."""
    port = closed_port()
    options = TrackingOptions(folder=str(tmp_path_factory.mktemp("server")))
    with tempfile.TemporaryFile("w+") as log:
        process = ui._start(options, "127.0.0.1", port, log)
        try:
            ui._await(process, "127.0.0.1", port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.end(ui.STOP_SECONDS)


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An artifacts folder; whatever a test left running there is ended."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "CI"):
        monkeypatch.setenv(name, os.environ.get(name, "10"))  # `connect` sets them; they go when the test ends
    yield tmp_path / "artifacts"
    for tick in records.open_ticks(tmp_path / "artifacts"):
        for pid in filter(None, (tick.pid, int(tick.owner["pid"]))):
            if pid != os.getpid() and psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)


class Scheduler:
    """``detpress schedule serve`` as a process."""

    def __init__(self, artifacts: Path) -> None:
        command = [sys.executable, "-m", "pipelines.cli", "schedule", "serve", "--artifacts", str(artifacts)]
        self.log = artifacts / "scheduler.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=artifacts, stdout=log, stderr=log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> str:
        """End it in order; what it said."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(180) == 0, self.log.read_text()
        return self.log.read_text()


def schedule(artifacts: Path, spec: Spec, due: datetime | None = None) -> None:
    """Store ``spec`` with its next tick at ``due`` (now, if nothing is said)."""
    store = store_of(artifacts)
    put(store, artifacts / "schedule", spec)
    store.update_job(store.job(spec, due or datetime.now(timezone.utc)))
    store.shutdown()


def tracked(artifacts: Path, server: str, **options: Any) -> Spec:
    tracking = {"enabled": True, "uri": server}
    options.setdefault("track", False)
    return spec_for(artifacts, f"tracking.uri={server}", tracking=tracking, **options)


def outcomes(artifacts: Path) -> list[str]:
    return [line["outcome"] for line in records.read(artifacts)]


def never_two(artifacts: Path) -> None:
    """Between the begin of a run and the next one's, it ended or was killed."""
    begun: list[dict[str, Any]] = []
    for span in spans(artifacts):
        if span["what"] == "begin":
            for earlier in begun:
                assert not psutil.pid_exists(earlier["pid"]) or psutil.Process(earlier["pid"]).status() == "zombie"
            begun.append(span)
        else:
            begun = [earlier for earlier in begun if earlier["pid"] != span["pid"]]


def running_stage(artifacts: Path) -> bool:
    """Whether a stage's worker is in the middle of its work."""
    return any((artifacts / "work").glob("*/starts"))  # not rglob: a folder may go away while it looks


def parents(server: str, artifacts: Path) -> dict[str, Any]:
    """The pipeline runs of this folder, as the server has them, by run id."""
    client = connect(TrackingOptions(uri=server))
    experiments = [e.experiment_id for e in client.search_experiments()]
    found = client.search_runs(experiments, "tags.node = 'pipeline'")
    return {r.data.tags["run_id"]: r for r in found if r.data.tags["run_dir"].startswith(str(artifacts))}


def test_scheduler_and_run_killed_the_run_is_marked_and_gone_on_with(artifacts: Path, server: str) -> None:
    spec = tracked(artifacts, server, track=True)
    plan(artifacts, outcomes=["promoted"], seconds=3.0)  # for each of the four stages
    schedule(artifacts, spec)
    first = Scheduler(artifacts)
    wait_for(lambda: (artifacts / "store" / "stub").is_dir() and running_stage(artifacts), "the second stage")
    wait_for(lambda: parents(server, artifacts), "the run on the server")
    (tick,) = records.open_ticks(artifacts)
    due = store_of(artifacts).lookup_job("retrain").next_run_time
    first.kill()
    os.kill(tick.pid, signal.SIGKILL)
    plan(artifacts, outcomes=["promoted"], seconds=0.0)
    second = Scheduler(artifacts)
    wait_for(lambda: "promoted" in outcomes(artifacts), "the end of the resumed run")
    said = second.stop()

    assert store_of(artifacts).lookup_job("retrain").next_run_time == due  # the schedule stands
    assert outcomes(artifacts) == ["interrupted", "promoted"]
    assert {line["tick"] for line in records.read(artifacts)} == {tick.id}
    assert "continues from what is stored" in said and records.open_ticks(artifacts) == []
    never_two(artifacts)
    newest, killed = [state for folder in history.folders(artifacts) if (state := history.read_state(folder))]
    assert (killed["status"], newest["status"]) == (history.KILLED, history.FINISHED)
    assert newest["resumed_from"] == killed["run_id"]
    made = json.loads((artifacts / f"made-{newest['run_id']}.json").read_text())
    assert "a" in made["cached"] and set(made["texts"]) == {node.id for node in graph(0)}
    on_server = parents(server, artifacts)
    assert on_server[killed["run_id"]].info.status == "KILLED"
    assert on_server[killed["run_id"]].data.tags["continued_by"] == newest["run_id"]
    assert on_server[newest["run_id"]].info.status == "FINISHED"
    client = connect(TrackingOptions(uri=server))
    (ticked,) = client.search_runs([client.get_experiment_by_name("schedule retrain").experiment_id])
    assert ticked.info.run_name.endswith(" promoted") and ticked.data.tags["tick"] == tick.id
    assert ticked.data.tags["run_id"] == newest["run_id"]


def test_without_resumes_an_interrupted_run_is_marked_and_left(artifacts: Path, server: str) -> None:
    plan(artifacts, outcomes=["promoted"], seconds=60.0)
    schedule(artifacts, tracked(artifacts, server, resumes=0))
    first = Scheduler(artifacts)
    wait_for(lambda: running_stage(artifacts) and parents(server, artifacts), "the run on the server")
    (tick,) = records.open_ticks(artifacts)
    first.kill()
    os.kill(tick.pid, signal.SIGKILL)
    second = Scheduler(artifacts)
    wait_for(lambda: outcomes(artifacts), "its mark")
    assert "not started again (schedule.resumes=0)" in second.stop()
    assert outcomes(artifacts) == ["interrupted"]
    assert [run.info.status for run in parents(server, artifacts).values()] == ["KILLED"]  # without another run


def test_a_run_that_outlives_its_scheduler_gets_no_twin(artifacts: Path) -> None:
    plan(artifacts, outcomes=["promoted"], seconds=6.0)
    spec = spec_for(artifacts, interval=1.0)
    schedule(artifacts, spec)
    first = Scheduler(artifacts)
    wait_for(lambda: spans(artifacts), "the run's begin")
    first.kill()
    (tick,) = records.open_ticks(artifacts)
    assert psutil.pid_exists(tick.pid)
    second = Scheduler(artifacts)  # with a tick every second, all of them due
    wait_for(lambda: "promoted" in outcomes(artifacts), "the outlived run's outcome")
    said = second.stop()
    never_two(artifacts)
    assert f"waits for schedule retrain (process {tick.pid}," in said
    ended = [line for line in records.read(artifacts) if line["outcome"] == "promoted"]
    assert ended[0]["tick"] == tick.id and ended[0]["attempt"] == 1  # it was not run again
    skipped = [line["reason"] for line in records.read(artifacts) if line["outcome"] == "skipped"]
    assert skipped and all("still running" in reason for reason in skipped)


@pytest.mark.parametrize(("catch_up", "expected"), [("once", ["unchanged"]), ("skip", ["missed"])])
def test_ticks_that_were_missed_follow_the_policy(artifacts: Path, catch_up: str, expected: list[str]) -> None:
    plan(artifacts, outcomes=["unchanged"])
    missed = datetime.now(timezone.utc) - timedelta(hours=5, minutes=30)
    schedule(artifacts, spec_for(artifacts, interval=3600.0, catch_up=catch_up), missed)  # six of them
    scheduler = Scheduler(artifacts)
    wait_for(lambda: outcomes(artifacts), "the missed tick")
    scheduler.stop()
    assert outcomes(artifacts) == expected
    assert len(spans(artifacts)) == (2 if catch_up == "once" else 0)
    assert store_of(artifacts).lookup_job("retrain").next_run_time > datetime.now(timezone.utc)


def test_a_stopped_scheduler_stops_its_run_and_goes_on_later(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(artifacts, outcomes=["promoted"], seconds=60.0)
    schedule(artifacts, spec_for(artifacts))
    first = Scheduler(artifacts)
    wait_for(lambda: spans(artifacts), "the run's begin")
    monkeypatch.chdir(artifacts)
    assert main(["schedule", "serve", "--artifacts", str(artifacts)]) == 2
    assert "serves this store already" in capsys.readouterr().err
    assert "stopped with the scheduler" in first.stop()
    plan(artifacts, outcomes=["promoted"])
    (tick,) = records.open_ticks(artifacts)
    assert tick.state == records.STOPPED and not psutil.pid_exists(tick.pid)
    second = Scheduler(artifacts)
    wait_for(lambda: "promoted" in outcomes(artifacts), "the run's end")
    # What another process changes is seen without a restart.
    assert main(["schedule", "pause", "retrain", "--artifacts", str(artifacts)]) == 0
    store = store_of(artifacts)
    assert store.lookup_job("retrain").next_run_time is None
    before = len(spans(artifacts))
    put(store, artifacts / "schedule", spec_for(artifacts, name="second", at_start=True))
    wait_for(lambda: len(outcomes(artifacts)) == 3, "the new schedule's run")
    assert len(spans(artifacts)) == before + 2
    second.stop()
    assert outcomes(artifacts) == ["interrupted", "promoted", "promoted"]


def test_a_scheduler_whose_terminal_is_closed_stops_its_run(artifacts: Path) -> None:
    plan(artifacts, outcomes=["promoted"], seconds=60.0)
    schedule(artifacts, spec_for(artifacts))
    first = Scheduler(artifacts)
    wait_for(lambda: spans(artifacts), "the run's begin")
    for _ in range(2):  # by the kernel, and by the shell
        first.process.send_signal(signal.SIGHUP)
    assert first.process.wait(180) == 143
    (tick,) = records.open_ticks(artifacts)
    assert tick.state == records.STOPPED and not psutil.pid_exists(tick.pid)


def test_a_paused_schedule_runs_on_request_is_stopped_in_order_and_continued(
    artifacts: Path, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tracked(artifacts, server)
    plan(artifacts, outcomes=["promoted"], seconds=3.0)
    schedule(artifacts, spec)
    store = store_of(artifacts)
    store.update_job(store.job(spec, None))
    scheduler = Scheduler(artifacts)
    folder = ["--artifacts", str(artifacts)]
    wait_for(lambda: "paused" in scheduler.log.read_text(), "the scheduler's start")
    assert main(["schedule", "run-now", "retrain", *folder]) == 0
    wait_for(lambda: (artifacts / "store" / "stub").is_dir() and running_stage(artifacts), "the second stage")
    capsys.readouterr()
    assert main(["schedule", "status", "retrain", *folder]) == 0
    assert "stage b" in " ".join(capsys.readouterr().out.split())
    (tick,) = records.open_ticks(artifacts)
    assert main(["schedule", "stop", "retrain", *folder]) == 0
    assert "retrain: interrupted: stopped with `detpress schedule stop`" in capsys.readouterr().out
    assert not psutil.pid_exists(tick.pid)
    plan(artifacts, outcomes=["promoted"])
    assert main(["schedule", "run-now", "retrain", *folder]) == 0
    wait_for(lambda: outcomes(artifacts) == ["interrupted", "promoted"], "the second run")
    assert store_of(artifacts).lookup_job("retrain").next_run_time is None  # still paused
    scheduler.stop()
    made = [json.loads(path.read_text()) for path in artifacts.glob("made-*.json")]
    assert made[-1]["resumed_from"] and "a" in made[-1]["cached"]
    never_two(artifacts)
