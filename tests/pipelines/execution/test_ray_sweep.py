"""Sweeps: one job after the other, and on a Ray cluster of this machine; what a killed worker leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

from pipelines import cli
from pipelines.config.options.tracking import TrackingOptions
from pipelines.execution import ray_sweep
from pipelines.tracking.client import connect
from stages.errors import InputError, StageError
from stages.processes import python
from tests.conftest import ROOT
from tests.poison import poison, ran

STUB = "tests.pipelines.stub_pipeline"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def parents(artifacts: Path) -> list[str]:
    """The status of each pipeline run in MLflow."""
    client = connect(TrackingOptions(folder=str(artifacts / "mlflow")))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return [run.info.status for run in client.search_runs(experiments, "tags.node = 'pipeline'")]


def kill_a_worker(artifacts: Path, done: list[str]) -> None:
    """Kill -9 the Ray worker whose job is at work on the stage b."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not done:
        for request in (artifacts / "store" / ".tmp").glob("*/request.json"):
            if '"text": "b1"' not in request.read_text():
                continue
            for process in psutil.process_iter(["cmdline"]):
                line = process.info["cmdline"] or []
                if "pipelines.execution.ray_sweep" in line and line[-1] == "b=b1":
                    os.kill(process.ppid(), signal.SIGKILL)
                    done.append(" ".join(line))
                    return
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")
def test_a_sweep_of_four_on_two_ray_workers_one_of_which_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    foreign = poison(tmp_path / "foreign")
    killed: list[str] = []
    killer = threading.Thread(target=kill_a_worker, args=(tmp_path, killed))
    killer.start()
    driver = subprocess.run(
        python.command(STUB, str(tmp_path), "--sweep", "b1", "b2", "b3", "b4"),
        capture_output=True, text=True, timeout=300, check=False, cwd=foreign, env=python.environment(),
    )  # fmt: skip
    killer.join()
    told = [json.loads(line) for line in driver.stdout.splitlines() if line.startswith("{")]
    assert driver.returncode == 0 and told[-1] == {"codes": [0, 0, 0, 0]}, driver.stderr
    assert len(killed) == 1
    assert ran(foreign) == ""  # neither in Ray's workers nor in the jobs
    assert sorted(parents(tmp_path)) == ["FINISHED"] * 4 + ["KILLED"]
    del told[-1]
    assert sorted(t["texts"]["b"] for t in told) == [f"b{i}+a" for i in range(1, 5)]
    # The shared stage was computed by one job, and found by the others, the one that was started anew among them.
    entries = [json.loads(p.read_text()) for p in (tmp_path / "store" / "stub").glob("*/entry.json")]
    assert [e["node"] for e in entries].count("a") == 1
    assert [e["node"] for e in entries].count("b") == 4
    assert sum("a" in t["cached"] for t in told) >= 3
    assert [t for t in told if t["resumed_from"]] != []


def test_hydras_launcher_hands_over_what_the_command_line_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: dict[str, object] = {}

    def launch(options: ray_sweep.RayOptions, jobs: list[list[str]], *, logs: Path, first: int) -> list[int]:
        told.update(options=options, jobs=jobs, command=ray_sweep._current[-1].command, logs=logs)
        ray_sweep._current[-1].codes += [0, 3]
        return [0, 3]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_sweep, "launch", launch)
    places = ["run.artifacts=there", "model.random_weights=true"]
    ray = ["hydra/launcher=ray", "hydra.launcher.gpus=1", "+hydra.launcher.resources.bench=1"]
    arguments = ["compress", "-m", *ray, *places, "compression.lr=1e-5,3e-5", "--exit-if-unchanged"]
    assert cli.main(arguments) == 3
    assert told["options"] == ray_sweep.RayOptions(gpus=1, resources={"bench": 1})
    common = ["run.artifacts=there", "model.random_weights=True"]
    assert told["jobs"] == [[*common, "compression.lr=1e-05"], [*common, "compression.lr=3e-05"]]
    assert told["command"] == ["compress", "--exit-if-unchanged"]
    assert str(told["logs"]).startswith("there/sweeps/")
    assert cli.main(["compress", "-m", "hydra/launcher=ray", "hydra.launcher.cpu=1", *places, "seed=1,2"]) == 2
    assert "hydra.launcher.cpu" in capsys.readouterr().err
    assert cli.main(["compress", "-m", "hydra/launcher=ray", "hydra.launcher.cpus=x", *places, "seed=1,2"]) == 2
    assert "cpus must be a number" in capsys.readouterr().err


def test_what_a_job_asks_of_its_node() -> None:
    with pytest.raises(InputError, match=r"hydra\.launcher"):
        ray_sweep.RayOptions(retries=-1)

    class Ray:
        @staticmethod
        def nodes() -> list[dict[str, object]]:
            return [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {"CPU": 9.0}}]

    ray_sweep._require_room(Ray, ray_sweep.RayOptions(cpus=2))
    for options in (ray_sweep.RayOptions(cpus=3), ray_sweep.RayOptions(resources={"bench": 1})):
        with pytest.raises(StageError, match="no node of the Ray cluster has"):
            ray_sweep._require_room(Ray, options)
