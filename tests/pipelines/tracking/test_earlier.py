"""What an earlier run could not tell MLflow is told to the user, and sent by whichever run comes next."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.config.options.tracking import TrackingOptions
from pipelines.execution.events import StageInfo
from pipelines.runs.garbage import garbage
from pipelines.system.redact import redact_text
from pipelines.tracking.client import store_uri
from pipelines.tracking.delivery import send_earlier
from pipelines.tracking.earlier import untold
from pipelines.tracking.observer import MlflowObserver
from pipelines.tracking.spool import Spool, leftovers, meant_for, unsent
from tests.conftest import ROOT
from tests.pipelines.tracking.test_observer import closed_port, image_list, parent_and_nested, run_info

# MLflow's own tables, under the SQLAlchemy that its pins allow.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

LIMIT = 120.0
"""Seconds that a test waits for a process in the background; it takes a few."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TrackingOptions:
    return TrackingOptions(folder=str(tmp_path_factory.mktemp("mlflow")))


@pytest.fixture(autouse=True)
def _env_restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "CI"):
        monkeypatch.setenv(name, "1")
    yield


def wait_for(happened: Callable[[], bool]) -> None:
    limit = time.monotonic() + LIMIT
    while not happened() and time.monotonic() < limit:
        time.sleep(0.1)
    assert happened()


def cached_run(options: TrackingOptions, tmp_path: Path, run_id: str) -> MlflowObserver:
    """A run that finds everything in the store, and leaves its records to a process of their own."""
    observer = MlflowObserver(options, hand_over=True)
    observer.run_started(run_info(tmp_path, run_id))
    stage = StageInfo(id="images.unlabeled", stage="collect_unlabeled", key="k1")
    observer.stage_started(stage)
    observer.stage_finished(stage, image_list(tmp_path / run_id), True, 0.1)
    observer.run_finished("FINISHED", {}, None)
    return observer


def killed_run(options: TrackingOptions, tmp_path: Path, run_id: str) -> Path:
    """A run whose process is killed before it reached MLflow; its records."""
    code = (
        "import os\n"
        "from pathlib import Path\n"
        "from tests.pipelines.tracking.test_earlier import *\n"
        f"observer = MlflowObserver(TrackingOptions(uri={options.uri!r}, folder={options.folder!r}), hand_over=True)\n"
        f"observer.run_started(run_info(Path({str(tmp_path)!r}), {run_id!r}))\n"
        "observer.stage_started(StageInfo(id='distill', stage='distill', key='k'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -9
    return tmp_path / "runs" / run_id / "tracking.jsonl"


@pytest.mark.slow
def test_what_the_sender_could_not_send_is_told_by_the_next_run(tmp_path: Path) -> None:
    dead = TrackingOptions(uri=f"http://anna:hunter2@127.0.0.1:{closed_port()}", timeout=1)
    assert cached_run(dead, tmp_path, "first").warnings == []  # nobody waits for the sender
    reason = tmp_path / "runs/first/tracking.error"
    wait_for(lambda: reason.is_file() and "first" in str(untold(tmp_path / "runs", redact_text(store_uri(dead)))))
    second = cached_run(dead, tmp_path, "second")
    (told,) = second.warnings
    assert told.startswith(f"MLflow at {redact_text(store_uri(dead))} does not have all of the run first: ")
    assert "hunter2" not in told + reason.read_text()
    wait_for(lambda: (tmp_path / "runs/second/tracking.error").is_file())
    wait_for(lambda: len(unsent(tmp_path / "runs")) == 2)
    assert untold(tmp_path / "runs", "sqlite:///another") == []
    (told,) = untold(tmp_path / "runs", redact_text(store_uri(dead)))
    assert "2 earlier runs (the newest: second)" in told


@pytest.mark.slow
def test_a_run_that_computes_nothing_sends_what_killed_ones_left(store: TrackingOptions, tmp_path: Path) -> None:
    left = killed_run(store, tmp_path, "killed")
    spool = Spool(left)
    spool.fail("OSError: the server had died")  # as its sender would have noted it
    spool.close(delivered=False)
    observer = cached_run(store, tmp_path, "repeat")
    (told,) = observer.warnings
    assert "the run killed: OSError: the server had died" in told
    wait_for(lambda: not any(tmp_path.glob("runs/*/tracking.*")))
    _, nested = parent_and_nested(store, "killed")
    wait_for(lambda: parent_and_nested(store, "killed")[0].info.status == "KILLED")
    assert set(nested) == {"distill"}
    assert parent_and_nested(store, "repeat")[0].info.status == "FINISHED"


@pytest.mark.slow
def test_a_command_without_a_run_sends_it_too(store: TrackingOptions, tmp_path: Path) -> None:
    assert send_earlier(tmp_path / "runs", store) == []
    left = killed_run(store, tmp_path, "lost")
    assert send_earlier(tmp_path / "runs", TrackingOptions(folder=str(tmp_path / "another"))) == []
    assert send_earlier(tmp_path / "runs", store) == []  # no sender failed with it: nothing to tell
    wait_for(lambda: not left.exists())
    wait_for(lambda: parent_and_nested(store, "lost")[0].info.status == "KILLED")
    assert not (tmp_path / "another").exists()


def test_a_sender_that_inherits_the_lock_has_it(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    spool = Spool(runs / "a/tracking.jsonl")
    spool.append({"kind": "run_started", "store": "s"})
    with subprocess.Popen(["sleep", "600"], pass_fds=[spool.fileno()]) as sender:
        spool.close(delivered=False)
        assert unsent(runs) == {} and list(leftovers(runs)) == []
        sender.kill()
    assert unsent(runs) == {runs / "a/tracking.jsonl": ""}
    (left,) = leftovers(runs)
    left.fail("E: why")
    left.close(delivered=False)
    assert unsent(runs) == {runs / "a/tracking.jsonl": "E: why"}
    (left,) = leftovers(runs)
    left.close(delivered=True)
    assert list((runs / "a").iterdir()) == []


def test_records_name_the_store_that_they_are_for(tmp_path: Path) -> None:
    file = tmp_path / "tracking.jsonl"
    for text, store in (('{"store": "s"}\n', "s"), ('{"store": "s', None), ("[]\n", None), ("", None)):
        file.write_text(text)
        assert meant_for(file) == store


def test_records_that_are_still_to_be_sent_are_no_garbage(tmp_path: Path) -> None:
    for name in ("20260101-000000-a", "20260101-000001-b"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"status": "FINISHED", "stages": {}}))
    (tmp_path / "runs/20260101-000000-a/tracking.jsonl").write_text('{"kind": "run_started"}\n')
    assert set(garbage(tmp_path, 0, runs=True).runs) == {"20260101-000001-b"}
