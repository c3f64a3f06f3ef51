"""No process of ours runs a module that lies on the user's PYTHONPATH or in a folder that it works in."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from pipelines.commands import reproduce
from pipelines.commands.doctor import machine
from pipelines.config.options.schedule import NotifyOptions
from pipelines.config.options.tracking import TrackingOptions
from pipelines.execution.ray_sweep import run_job
from pipelines.execution.worker import run_worker
from pipelines.scheduling import tracking
from pipelines.scheduling.child import Child
from pipelines.scheduling.notify import notify
from pipelines.system.failures import tell
from pipelines.tracking.delivery import send_in_background
from pipelines.tracking.spool import Spool
from stages.artifacts import Engine, Precision
from stages.errors import DetpressError
from stages.latency.engine_process import started
from stages.latency.timed_engine import Setup
from stages.options.accuracy import NmsOptions
from stages.processes import python
from stages.processes.group import ProcessGroup
from tests.conftest import ROOT
from tests.pipelines.scheduling.helpers import wait_for
from tests.pipelines.stored_runs import remembered
from tests.poison import NAMES, enter, poison, ran
from tests.test_safety import calls

FOLDERS = ("pipelines", "stages", "conf", "hydra_plugins")
SOURCES = [ROOT / "detpress.py", *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
THE_DOOR = "stages/processes/python.py"
SHOWN = f"detpress {metadata.version('detpress')}\n"
CONSOLE_SCRIPT = "import sys\nfrom detpress import main\nif __name__ == '__main__':\n    sys.exit(main())\n"


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter(poison(tmp_path / "foreign"), monkeypatch)


def worker(folder: Path) -> None:
    """A stage that imports NumPy and OpenCV."""
    for name in ("out", "work"):
        (folder / name).mkdir()
    options = {"train": 1, "unlabeled": 1, "val": 1, "size": [64, 64], "seed": 7}
    request = {"stage": "draw", "options": options, "inputs": {}, "out": str(folder / "out"),
               "work": str(folder / "work"), "seed": 0, "threads": 1}  # fmt: skip
    made = run_worker(request, folder=folder, log=folder / "log.txt", on_event=lambda event: None)
    assert len(made.files) == 5


def engine(folder: Path) -> None:
    """Its backend imports ONNX Runtime, then misses the file."""
    (folder / "model.onnx").write_bytes(b"no model")
    files = {"model.onnx": "0"}
    broken = Engine(root=folder, files=files, backend="onnxruntime", precision=Precision.FP32, main="model.onnx",
                    input_size=[64, 64], batch=1, scale_factor=False, image_input="i", scale_input="s",
                    boxes_output="b", scores_output="p")  # fmt: skip
    with pytest.raises(DetpressError) as told, started([Setup(broken, [], NmsOptions(), 1)], folder):
        pass
    assert "not meant" not in str(told.value)


def group(folder: Path) -> None:
    peers = ProcessGroup([{"says": {"ready": 1}}], [{}], folder, "tests.stages.fake_peer")
    assert peers.hear() == [{"ready": 1}]
    peers.close()


def delivery(folder: Path) -> None:
    """Imports MLflow, then misses the store."""
    spool = Spool(folder / "spool.jsonl")
    send_in_background(spool, TrackingOptions(uri="nonsense://x"), folder / "log.txt")
    spool.close(delivered=False)
    # Not at the first line of what it prints: on a busy machine the rest comes later.
    assert wait_for(lambda: "nonsense" in (folder / "log.txt").read_text(), "it has failed")


def marking(folder: Path) -> None:
    assert tracking.mark_interrupted(folder, {"enabled": False}, Path.cwd()) == ""


def scheduled(folder: Path) -> None:
    """The stored command of a schedule, as this and as earlier versions keep it."""
    command = python.portable("pipelines.cli", "--version")
    with (folder / "lock").open("w") as lock:
        child = Child.start(command, folder=Path.cwd(), out=folder / "out", log=folder / "log", lock=lock.fileno())
        wait_for(lambda: child.poll() is not None, "it ends")
    assert (folder / "out").read_text() == SHOWN, (folder / "log").read_text()


def reproduced(folder: Path) -> None:
    remembered(folder, "r", command="detpress --version", folder=str(Path.cwd()))
    assert reproduce.main(["r", "--run", "--artifacts", str(folder)]) == 0


def ray_job_here(folder: Path) -> None:
    words = ("pipelines.execution.ray_sweep", "pipelines.cli", "--version")
    ways = [python.command(*words)[1:], python.elsewhere(*words)]
    assert run_job(ways, python.STARTER, str(Path.cwd()), {}) == (0, SHOWN, "")


@pytest.mark.parametrize(
    "way", [worker, engine, group, delivery, marking, scheduled, reproduced, ray_job_here], ids=lambda way: way.__name__
)
def test_a_process_runs_nothing_of_the_users(foreign: Path, tmp_path: Path, way: Callable[[Path], None]) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    way(folder)
    assert ran(foreign) == ""


PLAN = ["plan", "model.random_weights=true", "data=shapes", "tracking=none", "run.artifacts=made"]


@pytest.mark.parametrize(
    ("module", "arguments"), [("", PLAN), ("detpress", ["--version"]), ("pipelines.cli", ["--version"])]
)
@pytest.mark.parametrize("place", ["PYTHONPATH", "the current folder"])
def test_a_command_runs_nothing_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, arguments: list[str], place: str
) -> None:
    """The console script, and ``python -m``.

    What a ``sitecustomize`` does in the first process is out of reach: it runs before any code of ours.
    """
    folder = poison(tmp_path / "foreign", *(name for name in NAMES if name != "sitecustomize"))
    script = tmp_path / "bin" / "detpress"
    script.parent.mkdir()
    script.write_text(CONSOLE_SCRIPT)
    command, path = [sys.executable, str(script)], [folder, ROOT]
    if module:
        # Python itself looks for the module to start: ours has to be the first of its name.
        command, path = [sys.executable, "-m", module], [ROOT, folder]
        (folder / "pipelines" / "__init__.py").unlink()
    if place == "the current folder":
        path.remove(folder)
        monkeypatch.chdir(folder)
    else:
        monkeypatch.chdir(tmp_path)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "NO_COLOR": "1"}
    done = subprocess.run([*command, *arguments], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == SHOWN or "there is no result of it yet" in done.stdout
    assert ran(folder) == ""


def test_programs_of_the_users_get_their_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv(python.OUTER, "/theirs")  # as in a command that was started anew
    with (tmp_path / "lock").open("w") as lock:
        child = Child.start(["sh", "-c", 'echo "$PYTHONPATH"'], folder=tmp_path, out=tmp_path / "out",
                            log=tmp_path / "log", lock=lock.fileno())  # fmt: skip
        wait_for(lambda: child.poll() is not None, "it ends")
    assert (tmp_path / "out").read_text() == "/theirs\n"
    hook = NotifyOptions(command=["sh", "-c", "test `printenv PYTHONPATH` = /theirs"], outcomes=["failed"])
    assert notify(hook, {"outcome": "failed"}) == []


def test_what_is_ignored_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(python.OUTER, f"{ROOT}{os.pathsep}/theirs")
    (row,) = [check for check in machine(tmp_path) if check.name == "PYTHONPATH"]
    assert row.status == "warning" and row.detail.startswith("/theirs is not searched for modules")
    assert tell(ModuleNotFoundError("No module named 'mine'", name="mine"), debug=False) == 2
    assert capsys.readouterr().err.startswith("error: mine is not installed; PYTHONPATH is not searched")
    monkeypatch.setenv(python.OUTER, str(ROOT))
    assert "PYTHONPATH" not in [check.name for check in machine(tmp_path)]


def test_python_processes_are_started_in_one_place_only() -> None:
    """``sys.executable`` and what else starts a Python: only there, so that no process is forgotten."""
    names = ("sys.executable", "multiprocessing", "concurrent.futures.process", "ProcessPoolExecutor", "os.fork")
    found = {path.relative_to(ROOT).as_posix() for path in SOURCES for name in names if name in path.read_text("utf-8")}
    # A job of a cluster is started by Ray's worker, where our modules cannot be imported; `install` only writes it.
    assert found == {THE_DOOR, "pipelines/execution/ray_sweep.py", "pipelines/system/install.py"}


def test_every_program_that_is_started_gets_an_environment_that_was_thought_about() -> None:
    silent = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        for name, call in calls(path)
        if name in ("subprocess.run", "subprocess.Popen", "subprocess.check_output", "subprocess.call")
        and "env" not in [k.arg for k in call.keywords]
    }
    assert silent == set()


OUTLIVE_US = {
    "stages/processes/children.py": "the place that starts all others",
    "pipelines/scheduling/child.py": "a retraining, which the next scheduler takes over",
    "pipelines/tracking/delivery.py": "the delivery to MLflow, which nobody waits for",
    "pipelines/execution/ray_sweep.py": "a job, from Ray's worker, where our modules are not found; it asks the kernel",
}
"""Files that start processes -> which."""
STARTS = {
    *("Popen", "run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"),  # of subprocess
    *("fork", "forkpty", "posix_spawn", "posix_spawnp", "create_subprocess_exec", "create_subprocess_shell"),
    *("Process", "Pool", "ProcessPoolExecutor", "get_context"),  # of multiprocessing and concurrent.futures
}
BY_NAME = {name for name in STARTS if name not in ("run", "call", "Process")}
"""Those that nothing else is called."""


def starts(path: Path) -> list[int]:
    """Lines on which a file starts a process, or makes a kind of `Popen`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            of, _, name = ast.unparse(node.func).rpartition(".")
            ours = name in STARTS and of in ("subprocess", "os", "multiprocessing", "asyncio")
            if ours or name in BY_NAME or (of == "os" and name.startswith("spawn")):
                found.append(node.lineno)
        elif isinstance(node, ast.ClassDef):
            found += [node.lineno for base in node.bases if "Popen" in ast.unparse(base)]
        elif isinstance(node, ast.ImportFrom) and node.module in ("subprocess", "multiprocessing"):
            found += [node.lineno for alias in node.names if alias.name in STARTS]
    return found


def test_what_must_not_outlive_us_is_started_in_one_place() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in SOURCES if starts(path)}
    assert found == set(OUTLIVE_US), "start it with stages.processes.children"


@pytest.mark.parametrize(
    "line",
    [
        "subprocess.run(['x'])",
        "subprocess.Popen(['x'])",
        "class A(subprocess.Popen[str]): pass",
        "from subprocess import run",
        "from multiprocessing import Process",
        "os.fork()",
        "os.spawnv(0, 'x', [])",
        "concurrent.futures.ProcessPoolExecutor(2)",
        "multiprocessing.get_context('spawn')",
    ],
)
def test_the_rule_sees_what_starts_a_process(line: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(f"{line}\n")
    assert starts(tmp_path / "bad.py") == [1]
    (tmp_path / "bad.py").write_text("children.run(['x'], env={})\npsutil.Process(1)\nrunner.run()\n")
    assert starts(tmp_path / "bad.py") == []
