"""Commands killed with -9 at random instants: nothing is lost, nothing keeps running, and every database opens.

Fifty kills: 20 of first runs and those that go on from them, 6 of runs that find everything, 8 of `gc`, 5 of `promote`,
5 of a scheduler, 6 of `ui`. `make test-slowest` has all of them, `make test` a fifth. The seed decides at which part of
its time each is killed.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines import retrain
from pipelines.config.options.tracking import TrackingOptions
from pipelines.registry.register import registry_of
from pipelines.retraining import challenge, snapshot
from pipelines.runs import history
from pipelines.scheduling import records
from pipelines.tracking.client import connect
from tests.conftest import ROOT
from tests.pipelines import small, stub_pipeline
from tests.pipelines.scheduling.helpers import plan, spans, spec_for, wait_for
from tests.pipelines.scheduling.test_kills import outcomes, schedule
from tests.pipelines.test_interruptions import WHOLE
from tests.pipelines.tracking.test_observer import closed_port
from tests.slowest import of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="looks for processes in /proc"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
]
MARK = "DETPRESS_TEST_MARK"
DATABASES = ("mlflow.db", "jobs.db", "users.db")


class Ground:
    """A folder, and commands that work in it; all that they start carries their mark in its environment."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark = folder, secrets.token_hex(8)
        self.log = folder.with_name(f"{folder.name}.log")
        self.more: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """``python -m`` of a command; what it says goes to the log."""
        env = {**os.environ, "PYTHONPATH": str(ROOT), MARK: self.mark, **self.more}
        with self.log.open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", *command], cwd=self.folder, env=env, stdout=log, stderr=log)

    def whole(self, *command: str) -> float:
        """Let it end well; the seconds that it took."""
        begun = time.monotonic()
        code = self.start(*command).wait(300)
        assert code == 0, self.log.read_text()[-3000:]
        return time.monotonic() - begun

    def killed(self, seconds: float, *command: str) -> float | None:
        """Kill it after so many seconds. If it had ended by then: the seconds that it took."""
        begun, process = time.monotonic(), self.start(*command)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        assert code in (0, -signal.SIGKILL), self.log.read_text()[-3000:]
        return None if code == -signal.SIGKILL else time.monotonic() - begun

    def running(self) -> list[psutil.Process]:
        """Who carries the mark."""
        mark, found = f"{MARK}={self.mark}".encode(), []
        for pid in psutil.pids():
            try:
                if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.append(psutil.Process(pid))
            except (OSError, psutil.Error):
                continue
        return found

    def check(self) -> None:
        """Nobody is left (the delivery to MLflow ends by itself), and the databases are whole."""
        limit = time.monotonic() + 90
        while left := self.running():
            assert time.monotonic() < limit, [one.cmdline() for one in left]
            time.sleep(0.05)
        for path in (path for name in DATABASES for path in self.folder.rglob(name)):
            with sqlite3.connect(path) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], path
            connection.close()


def killed(count: int, seconds: float, attempt: Callable[[int, float], float | None]) -> None:
    """Have ``count`` kills, each in its own part of ``seconds``; one that comes too late is tried again, sooner.

    Args:
        attempt: gets the kill's number and its instant; returns how long the command took, if that came too late.
    """
    chance, late, limit = random.Random(count), 0, seconds
    for number in range(count):
        part = (number + chance.random()) / count
        while (took := attempt(number, part * limit)) is not None:
            late, limit = late + 1, 0.95 * min(limit, took)
            assert late < 2 * count, "it ends before it can be killed"
    print(f"{count} killed within {seconds:.1f} s, {late} more had ended before their kill")


def tracked(folder: Path, text: str = "b") -> tuple[str, ...]:
    return ("tests.pipelines.stub_pipeline", str(folder), "--tracked", "0.05", f"b={text}")


def told(ground: Ground) -> dict[str, Any]:
    """What the last run of stub stages printed."""
    lines = [line for line in ground.log.read_text().splitlines() if line.startswith("{")]
    content: dict[str, Any] = json.loads(lines[-1])
    return content


def statuses(folder: Path) -> list[str]:
    """Of the pipeline runs that MLflow has."""
    client = connect(TrackingOptions(folder=str(folder / "mlflow")))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return [run.info.status for run in client.search_runs(experiments, "tags.node = 'pipeline'")]


def test_first_runs_and_those_that_go_on_from_them(tmp_path: Path) -> None:
    measured = Ground(tmp_path / "measured")
    seconds = measured.whole(*tracked(measured.folder))
    measured.check()
    grounds: dict[int, Ground] = {}

    def attempt(number: int, when: float) -> float | None:
        """Even numbers are first runs; the odd ones go on in the folder of the one before."""
        if number not in grounds:
            new = Ground(tmp_path / f"{number:02}-{len(grounds)}") if number % 2 == 0 else grounds[number - 1]
            grounds[number] = new
        ground = grounds[number]
        took = ground.killed(when, *tracked(ground.folder))
        ground.check()
        if took is not None:
            shutil.rmtree(ground.folder)  # it is no first run any more
            ground.folder.mkdir()
        return took

    killed(of(20), seconds, attempt)
    for ground in {id(ground): ground for ground in grounds.values()}.values():
        ground.whole(*tracked(ground.folder))
        assert (told(ground)["texts"], told(ground)["failures"]) == (WHOLE, {})
        ground.check()
        found = statuses(ground.folder)
        assert "FINISHED" in found and set(found) <= {"FINISHED", "KILLED"}, found
        states = [state["status"] for f in history.folders(ground.folder) if (state := history.read_state(f))]
        assert states[0] == history.FINISHED and history.RUNNING not in states


def test_runs_that_find_everything(tmp_path: Path) -> None:
    ground = Ground(tmp_path / "artifacts")
    ground.whole(*tracked(ground.folder))
    ground.check()
    seconds = ground.whole(*tracked(ground.folder))

    def attempt(number: int, when: float) -> float | None:
        took = ground.killed(when, *tracked(ground.folder))
        ground.check()
        return took

    killed(of(6), seconds, attempt)
    ground.whole(*tracked(ground.folder))
    assert (told(ground)["texts"], told(ground)["cached"]) == (WHOLE, ["a", "b", "time"])
    ground.check()
    assert set(statuses(ground.folder)) <= {"FINISHED", "KILLED"}


def test_garbage_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = tmp_path / "made"
    for text in ("b1", "b2", "b3", "b"):
        assert stub_pipeline.run(made, b=text)["failures"] == {}
    command = ("pipelines.cli", "gc", "--keep-last", "1", "--runs", "--artifacts", ".")

    def copied(name: str) -> Ground:
        shutil.copytree(made, tmp_path / name, symlinks=True)
        return Ground(tmp_path / name)

    seconds = copied("measured").whole(*command)
    tries: list[Ground] = []

    def attempt(number: int, when: float) -> float | None:
        tries.append(ground := copied(f"try-{len(tries)}"))
        took = ground.killed(max(when, 0.3 * seconds), *command)
        ground.check()
        ground.whole(*command)
        again = stub_pipeline.run(ground.folder)  # what the kept run refers to is all there
        assert (again["texts"], again["cached"]) == (WHOLE, ["a", "b", "time"])
        assert len(list((ground.folder / "store" / "stub").iterdir())) == 4  # and nothing else is
        return took

    killed(of(8), seconds, attempt)


@pytest.fixture(scope="module")
def champions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A retraining's folder with two versions, the first of which is the champion."""
    root = tmp_path_factory.mktemp("retrain")
    small.draw(root, "train", 24, seed=1)
    small.draw(root, "val", 12, seed=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        for module in (challenge, snapshot):
            patch.setattr(module, "compress_graph", small.small_graph)
        for shift, code in ((0.0, 0), (3.0, 3)):
            small.weights(root, shift, str(shift))
            config = small.small_config(root)
            config.run.locks = str(root / "locks")  # a measurement of another test is none of ours
            assert retrain.run_retrain(config, command=["detpress", "retrain"])[0] == code
    return root


def test_promotions(champions: Path) -> None:
    """Judged ones, back and forth between two runs."""
    ground, registry = Ground(champions / "artifacts"), registry_of(small.small_config(champions))
    runs = {number: registry.version(number).run_id for number in ("1", "2")}

    def command(number: str) -> tuple[str, ...]:
        return ("pipelines.cli", "promote", runs[number], "gate.champion.max_map_drop=100", "--artifacts", ".")

    def champion() -> str:
        found = registry.champion()
        assert found is not None
        return found.number

    seconds = ground.whole(*command("2"))

    def attempt(number: int, when: float) -> float | None:
        before = champion()
        other = "1" if before == "2" else "2"
        took = ground.killed(when, *command(other))
        ground.check()
        if champion() == before:
            ground.whole(*command(other))
        assert champion() == other
        ground.check()
        return took

    killed(of(5), seconds, attempt)
    versions = {str(version.version) for version in registry.client.search_model_versions(f"name='{registry.name}'")}
    assert versions == {"1", "2"}


def test_schedulers(tmp_path: Path) -> None:
    """The run of one that is killed goes on, and its successor takes it over: it ends once."""
    grounds: list[Ground] = []

    def attempt(number: int, when: float) -> float | None:
        grounds.append(ground := Ground(tmp_path / f"{number}-{len(grounds)}"))
        folder = ground.folder
        uri = f"sqlite:///{folder}/mlflow/mlflow.db"
        (folder / "mlflow").mkdir()
        spec = spec_for(folder, f"tracking.uri={uri}", tracking={"enabled": True, "uri": uri}, track=False)
        plan(folder, outcomes=["promoted"], seconds=0.3)
        schedule(folder, spec, datetime.now(timezone.utc))
        serve = ("pipelines.cli", "schedule", "serve", "--artifacts", ".")
        assert ground.killed(when, *serve) is None
        second = ground.start(*serve)
        wait_for(lambda: "promoted" in outcomes(folder), "the end of the run", 180)
        second.send_signal(signal.SIGTERM)
        assert second.wait(180) == 0, ground.log.read_text()
        ground.check()
        assert outcomes(folder).count("promoted") == 1 and records.open_ticks(folder) == []
        assert len([span for span in spans(folder) if span["what"] == "end"]) == 1
        (file,) = folder.glob("made-*.json")
        assert json.loads(file.read_text())["texts"] == WHOLE
        return None

    killed(of(5), 8.0, attempt)


def test_starts_of_the_ui(tmp_path: Path) -> None:
    ground = Ground(tmp_path / "artifacts")
    ground.whole(*tracked(ground.folder))
    ground.check()

    def attempt(number: int, when: float) -> float | None:
        # With a password it makes a database of users first.
        ground.more = {"DETPRESS_UI_PASSWORD": "longer than twelve"} if number % 2 else {}
        took = ground.killed(when, *ui(closed_port()))
        ground.check()
        return took

    killed(of(6), 12.0, attempt)
    told = len(ground.log.read_text())  # a killed one may have come as far as its link
    process = ground.start(*ui(closed_port()))
    wait_for(lambda: "/#/" in ground.log.read_text()[told:], "its link", 180)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    ground.check()
    assert statuses(ground.folder) == ["FINISHED"]


def ui(port: int) -> tuple[str, ...]:
    return ("pipelines.cli", "ui", "--artifacts", ".", "--port", str(port))
