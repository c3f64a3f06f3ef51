"""The orchestrator on stub stages, in real worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.execution.events import NullObserver, PlannedStage
from pipelines.execution.node import Work
from pipelines.execution.runner import Node, Ref, Results, Runner, RunnerSettings
from pipelines.store.local import Store
from stages.catalog import PADDLE, STAGES
from stages.errors import DataError, StageCrashed, StageError
from tests.conftest import ROOT
from tests.pipelines.stubs import StubOptions

STUB = "tests.pipelines.stubs:Stub"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def node(name: str, text: str = "hello", *, behave: str = "well", **fields: object) -> Node:
    return Node(id=name, stage=STUB, options=StubOptions(text=text, behave=behave), **fields)  # type: ignore[arg-type]


class Watcher(NullObserver):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []
        self.events: list[dict[str, object]] = []

    def stage_event(self, stage, event) -> None:  # type: ignore[no-untyped-def]
        self.events.append(dict(event))

    def stage_finished(self, stage, artifact, cached, seconds) -> None:  # type: ignore[no-untyped-def]
        self.seen.append((stage.id, "cached" if cached else "ran"))

    def stage_failed(self, stage, error, seconds) -> None:  # type: ignore[no-untyped-def]
        self.seen.append((stage.id, "failed"))


def run(tmp_path: Path, nodes: list[Node], seed: int = 0) -> tuple[Results, Watcher]:
    watcher = Watcher()
    runner = Runner(Store(tmp_path / "artifacts"), watcher, RunnerSettings(seed), logs=tmp_path / "logs")
    return runner.run(nodes), watcher


@dataclass(frozen=True)
class NoInputs:
    """Of a stage that is only asked for its key."""


def text(results: Results, name: str) -> str:
    return results.artifacts[name].path("text.txt").read_text()


def test_what_is_about_to_run_is_announced_with_what_it_is_likely_to_take(tmp_path: Path) -> None:
    told: list[PlannedStage] = []

    class Listener(NullObserver):
        def planned(self, stages: Sequence[PlannedStage]) -> None:
            told[:] = stages

    runner = Runner(Store(tmp_path / "artifacts"), Listener(), RunnerSettings(0), logs=tmp_path / "logs")
    size = Work("small", 2.0, 5.0)
    runner.announce([node("a"), node("b", inputs={"first": Ref("a")}, work=size)], "report")
    assert told == [PlannedStage("a"), PlannedStage("b"), PlannedStage("report")]
    runner.run([node("a"), node("b", inputs={"first": Ref("a")}, work=size)])

    def again(amount: float | None, model: str = "large") -> PlannedStage:
        work = Work(model, amount, 50.0)
        runner.announce([node("a"), node("b", "more", inputs={"first": Ref("a")}, work=work)])
        assert told[0] == PlannedStage("a", cached=True)
        return told[1]

    same, large = again(2.0, "small"), again(20.0)
    assert same.seconds is not None and not same.rough
    assert large.seconds == pytest.approx(10 * same.seconds) and large.rough
    assert again(None).seconds is None  # an architecture that nobody counted: unknown, not what the small one took


def test_results_flow_along_the_graph_and_are_found_again(tmp_path: Path) -> None:
    nodes = [
        node("a", "a"),
        node("b", "b", inputs={"first": Ref("a")}),
        node("c", "c", inputs={"first": Ref("a"), "others": [Ref("a"), Ref("b")]}),
    ]
    results, watcher = run(tmp_path, nodes)
    assert text(results, "c") == "c+a+a+b+a"
    assert watcher.seen == [("a", "ran"), ("b", "ran"), ("c", "ran")]
    assert {"event": "metric", "name": "loss", "value": 0.5, "step": 1} in watcher.events

    again, watcher = run(tmp_path, nodes)
    assert watcher.seen == [("a", "cached"), ("b", "cached"), ("c", "cached")]
    assert text(again, "c") == text(results, "c")
    # a cached stage tells its numbers and warnings again, so that each run's record is whole
    assert {"event": "metric", "name": "loss", "value": 0.5, "step": 1} in watcher.events
    assert again.warnings == results.warnings == [f"{n}: a warning" for n in "abc"]


def test_a_change_runs_what_hangs_on_it_and_nothing_else(tmp_path: Path) -> None:
    def graph(b: str) -> list[Node]:
        return [
            node("a", "a"),
            node("b", b, inputs={"first": Ref("a")}),
            node("c", "c", inputs={"first": Ref("b")}),
            node("d", "d", inputs={"first": Ref("a")}),
        ]

    run(tmp_path, graph("b"))
    _, watcher = run(tmp_path, graph("B"))
    assert watcher.seen == [("a", "cached"), ("b", "ran"), ("c", "ran"), ("d", "cached")]


def test_an_unkeyed_option_and_an_unused_seed_change_nothing(tmp_path: Path) -> None:
    run(tmp_path, [node("a")])
    slower = Node(id="a", stage=STUB, options=StubOptions(seconds=0.01))
    assert run(tmp_path, [slower], seed=1)[1].seen == [("a", "cached")]
    assert run(tmp_path, [node("a", seeded=True)], seed=1)[1].seen == [("a", "ran")]
    assert run(tmp_path, [node("a", seeded=True)], seed=2)[1].seen == [("a", "ran")]


def test_a_partial_node_needs_one_of_each_list_unless_it_may_be_empty(tmp_path: Path) -> None:
    lost = [Ref("bad"), Ref("worse")]
    nodes = [
        node("bad", behave="fail"),
        node("worse", behave="fail"),
        node("good", "good"),
        node("times", inputs={"others": lost}, partial=True),
        node("some", "some", inputs={"others": [*lost, Ref("good")]}, partial=True),
        node("report", "report", inputs={"others": lost}, partial=True, empty=True),
    ]
    results, _ = run(tmp_path, nodes)
    assert results.skipped == {"times": "bad"}
    assert (text(results, "some"), text(results, "report")) == ("some+good", "report")


@pytest.mark.parametrize("stage", [name for name, entry in STAGES.items() if PADDLE in entry.needs])
def test_what_one_paddle_made_is_not_what_another_would_make(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = set()
    for distribution, version in (("paddlepaddle", "2.6.2"), ("paddlepaddle", "3.3.1"), ("paddlepaddle-gpu", "3.3.1")):
        here = {distribution: version}
        monkeypatch.setattr(
            "pipelines.execution.interpreter._own_version", lambda name, here=here: here.get(name, "none")
        )
        keys.add(Node(id=stage, stage=stage, options=StubOptions()).key(NoInputs(), seed=0).digest)
    assert len(keys) == 3


def test_a_fingerprint_is_part_of_the_key(tmp_path: Path) -> None:
    run(tmp_path, [node("a", fingerprint={"driver": "1"})])
    assert run(tmp_path, [node("a", fingerprint={"driver": "2"})])[1].seen == [("a", "ran")]


def test_a_failure_costs_only_its_branch(tmp_path: Path) -> None:
    nodes = [
        node("a", "a"),
        node("bad", behave="fail", inputs={"first": Ref("a")}),
        node("after", inputs={"first": Ref("bad")}),
        node("later", inputs={"first": Ref("after")}),
        node("good", "g", inputs={"first": Ref("a")}),
        node("report", "r", inputs={"others": [Ref("good"), Ref("later")]}, partial=True),
    ]
    results, _watcher = run(tmp_path, nodes)
    assert set(results.artifacts) == {"a", "good", "report"}
    assert results.skipped == {"after": "bad", "later": "bad"}
    assert isinstance(results.failures["bad"], DataError)
    assert str(results.failures["bad"]) == "the images are green; paint them blue"
    assert text(results, "report") == "r+g+a"
    # a failed run is never cached
    assert ("bad", "failed") in run(tmp_path, nodes)[1].seen


def test_a_segmentation_fault_becomes_an_error_with_the_last_lines(tmp_path: Path) -> None:
    results, _ = run(tmp_path, [node("a", behave="crash"), node("b", "b")])
    error = results.failures["a"]
    assert isinstance(error, StageCrashed)
    assert "SIGSEGV" in str(error) and "about to crash" in str(error)
    assert set(results.artifacts) == {"b"}


def test_an_unexpected_exception_is_a_stage_error_that_keeps_its_traceback(tmp_path: Path) -> None:
    results, _ = run(tmp_path, [node("a", behave="raise")])
    error = results.failures["a"]
    assert type(error) is StageError
    assert str(error) == "ZeroDivisionError: a bug"
    assert "stubs.py" in error.trace


def test_what_a_library_prints_goes_to_the_log(tmp_path: Path) -> None:
    results, _ = run(tmp_path, [node("a", behave="print")])
    assert set(results.artifacts) == {"a"}
    log = (tmp_path / "logs" / "a.log").read_text()
    assert "noise on stdout" in log and "noise from a native library" in log


def test_a_corrupt_entry_is_reported_and_computed_again(tmp_path: Path) -> None:
    results, _ = run(tmp_path, [node("a", "a")])
    results.artifacts["a"].path("text.txt").write_text("tampered")
    again, watcher = run(tmp_path, [node("a", "a")])
    assert watcher.seen == [("a", "ran")]
    assert text(again, "a") == "a"
    assert "not what was stored" in again.warnings[0]


def test_a_timing_is_measured_in_every_run(tmp_path: Path) -> None:
    nodes = [node("t", reuse=False)]
    run(tmp_path, nodes)
    results, watcher = run(tmp_path, nodes)
    assert watcher.seen == [("t", "ran")]
    assert text(results, "t") == "hello"


def _driver(tmp_path: Path, seconds: float) -> subprocess.Popen[str]:
    """An orchestrator process of its own that runs one sleeping stage."""
    script = tmp_path / "drive.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from pathlib import Path
            from pipelines.execution.events import NullObserver
            from pipelines.execution.runner import Node, Runner, RunnerSettings
            from pipelines.store.local import Store
            from tests.pipelines.stubs import StubOptions
            store = Store(Path({str(tmp_path / "artifacts")!r}))
            runner = Runner(store, NullObserver(), RunnerSettings(seed=0), logs=Path({str(tmp_path / "logs")!r}))
            options = StubOptions(seconds={seconds}, behave="count")
            results = runner.run([Node(id="a", stage={STUB!r}, options=options)])
            print(sorted(results.artifacts), results.artifacts["a"].path("starts").read_text(), len(results.cached))
            """
        )
    )
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)


def _wait_for(folder: Path, name: str) -> Path:
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        for path in folder.rglob(name):
            return path
        time.sleep(0.02)
    raise AssertionError(f"{name} never appeared under {folder}")


@pytest.mark.slow
def test_a_killed_orchestrator_takes_its_worker_along_and_the_next_run_goes_on(tmp_path: Path) -> None:
    first = _driver(tmp_path, 60)
    _wait_for(tmp_path / "artifacts" / "work", "starts")
    request = _wait_for(tmp_path / "artifacts" / "store" / ".tmp", "request.json")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    limit = time.monotonic() + 10  # the signal that ends the worker may take a moment
    while (workers := _workers(request)) and time.monotonic() < limit:
        time.sleep(0.02)
    assert workers == []
    second = _driver(tmp_path, 0)
    out, _ = second.communicate(timeout=30)
    assert out.split("\n")[0] == "['a'] 2 0"  # the same work folder, started twice


def _workers(request: Path) -> list[Path]:
    """The processes that were started on this request."""
    return [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(request) in _cmdline(p)]


def _cmdline(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@pytest.mark.slow
@pytest.mark.timing
def test_two_runs_at_once_compute_a_result_once(tmp_path: Path) -> None:
    runs = [_driver(tmp_path, 1.0) for _ in range(2)]
    lines = sorted(run.communicate(timeout=30)[0].strip() for run in runs)
    assert lines == ["['a'] 1 0", "['a'] 1 1"]


@pytest.mark.timing
def test_the_worker_ends_with_the_orchestrators_own_end(tmp_path: Path) -> None:
    assert os.name == "posix"
    process = _driver(tmp_path, 60)
    _wait_for(tmp_path / "artifacts" / "work", "starts")
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode != 0
    assert time.monotonic() - started < 6
    assert list((tmp_path / "artifacts" / "store" / ".tmp").iterdir()) == []  # nothing half-written stays


def test_a_stage_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    runner = Runner(Store(tmp_path / "a"), NullObserver(), RunnerSettings(0, timeout=1.0), logs=tmp_path / "logs")
    results = runner.run([Node(id="a", stage=STUB, options=StubOptions(seconds=60)), node("b", "b")])
    assert "run.stage_timeout=1" in str(results.failures["a"])
    assert set(results.artifacts) == {"b"}
