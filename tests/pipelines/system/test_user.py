"""A user without a name, without a home, or with one that cannot be written: tracking and schedules work."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.config.load import _expand_home
from pipelines.config.schema import PipelineConfig
from pipelines.system import user
from pipelines.system.paths import shorten
from pipelines.system.process_identity import this_process
from stages.data.weights import cache_folder, cached_path, resolve_weights
from stages.errors import WeightsError
from tests.conftest import ROOT
from tests.slowest import only_then

NAMES = ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME", "DETPRESS_CACHE")
NUMBER = 54321

TRACKED = """
import json, os, sys, time
from pathlib import Path
from pipelines.cli import main
from tests.pipelines import stub_pipeline
assert os.getuid() == 54321
artifacts = Path("artifacts").resolve()
code = main(["schedule", "add", "experiment=demo", "schedule.interval=3600"])
told = stub_pipeline.tracked(artifacts, 0.0, "b")
from pipelines.config.options.tracking import TrackingOptions
from pipelines.tracking.client import connect
client = connect(TrackingOptions(folder="artifacts/mlflow"))
runs = client.search_runs([e.experiment_id for e in client.search_experiments()], "tags.node = 'pipeline'")
print(json.dumps({
    "schedule": code, "failures": told["failures"], "status": [r.info.status for r in runs],
    "user": [r.data.tags["mlflow.user"] for r in runs], "runs": main(["runs"]), "list": main(["schedule", "list"]),
}))
"""


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's user stands in no list, as in a container that runs under a number."""

    def unknown(number: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_without_a_name_the_number_is_the_name(nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"uid-{os.getuid()}"
    assert user.user_name() == this_process()["mlflow.user"] == name
    assert user.named({"A": "b"}) == {"A": "b", "LOGNAME": name, "HOME": "/"}
    monkeypatch.setenv("LOGNAME", "anna")
    monkeypatch.setenv("HOME", "/homes/anna")
    assert user.user_name() == "anna" and user.named({}) == {}


def test_without_a_home_paths_stay_long_and_downloads_want_a_folder(
    nobody: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert user.home() is None
    assert shorten({"a": f"{Path.cwd()}/b", "c": "/home/x"}) == {"a": "b", "c": "/home/x"}
    with pytest.raises(WeightsError, match=r"set DETPRESS_CACHE=FOLDER"):
        cached_path("http://h.test/x.pdparams")
    monkeypatch.setenv("DETPRESS_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("DETPRESS_CACHE", "/proc/none")
    with pytest.raises(WeightsError, match=r"set DETPRESS_CACHE to a folder that is writable"):
        resolve_weights("http://h.test/x.pdparams")


def test_a_tilde_without_a_home_is_a_problem_of_its_key(nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    config = PipelineConfig()
    config.data.root, config.model.weights, config.run.artifacts = "~/photos", "/x/~y", "~none/a"
    assert [str(problem) for problem in _expand_home(config)] == [
        "data.root: ~ is nobody's home folder here; write the path out",
        "run.artifacts: ~none is nobody's home folder here; write the path out",
    ]
    monkeypatch.setenv("HOME", "/homes/anna")
    config.run.artifacts = "a"
    assert _expand_home(config) == [] and config.data.root == "/homes/anna/photos"


def test_a_worker_has_a_home_that_it_can_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user.writable_home({"HOME": "x"}, tmp_path / "new") == {"HOME": "x"} and not (tmp_path / "new").exists()
    monkeypatch.setenv("HOME", "/proc/none")
    made = user.writable_home({"HOME": "/proc/none"}, tmp_path / "new")
    assert made == {"HOME": str(tmp_path / "new"), "DETPRESS_CACHE": "/proc/none/.cache/detpress"}
    assert (tmp_path / "new").is_dir()
    made = user.writable_home({"DETPRESS_CACHE": "/kept"}, tmp_path / "new")
    assert made["DETPRESS_CACHE"] == "/kept"


def unprivileged() -> list[str]:
    """A command line that starts another as a user without a name, or the test is skipped."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, to become somebody else")
    number = ["setpriv", f"--reuid={NUMBER}", f"--regid={NUMBER}", "--clear-groups"]
    # Python and the checkout may lie where only root can read; writing is as for anybody else.
    for more in ([], ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]):
        code = "import pipelines.cli, subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
        tried = [*number, *more, sys.executable, "-c", code]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        if subprocess.run(tried, cwd="/", env=env, capture_output=True, check=False).returncode == 0:
            return [*number, *more]
    pytest.skip("Python cannot be read by another user here")


@pytest.fixture
def foreign() -> Iterator[Path]:
    """A folder of that user; those of pytest are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        if os.getuid() == 0:
            os.chown(folder, NUMBER, NUMBER)
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.parametrize("home", [None, "/proc", "/"])
def test_tracking_and_schedules_work_under_a_number(foreign: Path, home: str | None) -> None:
    """A home that cannot be written among them: containers are often given ``/``."""
    start, folder = unprivileged(), foreign
    environment = {k: v for k, v in os.environ.items() if k not in NAMES}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder)}
    environment |= {} if home is None else {"HOME": home}
    done = subprocess.run(
        [*start, sys.executable, "-c", TRACKED],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{"))) == {
        "schedule": 0, "failures": {}, "status": ["FINISHED"], "user": [f"uid-{NUMBER}"], "runs": 0, "list": 0,
    }  # fmt: skip
    assert "warning" not in done.stderr
    assert not (folder / "~").exists()
    assert not any(folder.glob("artifacts/store/*/*/home"))


SMALL_DEMO = [
    *("experiment=demo", "data.shapes.train=1", "data.shapes.unlabeled=8", "data.shapes.val=4", "accuracy.draws=0"),
    *("compression.steps=4", "compression.eval_every=2", "compression.batch=2", "compression.calibration_images=2"),
    *("latency=quick", "latency.runs=10", "latency.warmup=1", "latency.rounds=2", "gate=none"),
]
IN_A_CONTAINER = """
set -e
mount -t tmpfs -o size=64m tmpfs /dev/shm
chmod 1777 /dev/shm
mount -t tmpfs -o ro,size=64k tmpfs "$1"
shift
exec "$@"
"""
"""What a container engine gives by default: a /dev/shm of 64 MB; and a home folder that is read-only."""


@pytest.mark.slow
@pytest.mark.paddle
@pytest.mark.parametrize("home", [pytest.param("unset", marks=only_then), "read-only"])
def test_the_demo_runs_under_a_number_without_a_home_and_with_little_shared_memory(foreign: Path, home: str) -> None:
    """With everything small, except for what is looked at."""
    start, folder = unprivileged(), foreign
    readonly = folder / "home"
    readonly.mkdir()
    enter = ["unshare", "--mount", "sh", "-c", IN_A_CONTAINER, "sh", str(readonly)]
    if shutil.which("unshare") is None or subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting takes root and unshare")
    environment = {k: v for k, v in os.environ.items() if k not in NAMES}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder)}
    environment |= {} if home == "unset" else {"HOME": str(readonly)}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*enter, *start, sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True,
            timeout=1500,
        )  # fmt: skip

    sees = "import os; s = os.statvfs('/dev/shm')\n"
    sees += "print(os.getuid(), s.f_frsize * s.f_blocks >> 20, os.environ.get('HOME'))"
    assert run("-c", sees).stdout == f"{NUMBER} 64 {None if home == 'unset' else readonly}\n"
    done = run("-m", "pipelines.cli", "compress", *SMALL_DEMO)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "tracking" not in done.stderr and "Read-only" not in done.stderr, done.stderr
    report = json.loads((folder / "artifacts" / "runs" / "latest" / "report.json").read_text())
    assert report["status"] == "ok" and {row["status"] for row in report["rows"]} <= {"ok", "unavailable"}
    shown = run("-m", "pipelines.cli", "runs")
    assert shown.returncode == 0 and " done " in shown.stdout, shown.stderr
    with sqlite3.connect(folder / "artifacts" / "mlflow" / "mlflow.db") as database:
        assert set(database.execute("SELECT status FROM runs")) == {("FINISHED",)}
    database.close()
    assert {path.name for path in folder.iterdir()} <= {"artifacts", "home", "detpress-locks"}
