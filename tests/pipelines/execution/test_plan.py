"""What a plan says before anything runs, on stub stages and on the real graph."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipelines.execution.events import NullObserver, StageInfo
from pipelines.execution.key_changes import changes
from pipelines.execution.plan import ANY, AUTO, FRESH, estimate, survey
from pipelines.execution.runner import Node, Ref, Results, Runner, RunnerSettings
from pipelines.store.local import Store
from pipelines.system import provenance
from pipelines.system.devices import DeviceLocks
from pipelines.system.units import duration, size
from tests.conftest import ROOT
from tests.pipelines.stub_timing import TimingOptions
from tests.pipelines.stubs import StubOptions

STUB = "tests.pipelines.stubs:Stub"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def node(name: str, text: str = "hello", **fields: object) -> Node:
    return Node(id=name, stage=STUB, options=StubOptions(text=text), **fields)  # type: ignore[arg-type]


def graph(a: str = "a", b: str = "b", **time: object) -> list[Node]:
    return [
        node("a", a),
        node("b", b, inputs={"first": Ref("a")}),
        node("time", inputs={"first": Ref("b")}, timed=True, **time),
        node("score", inputs={"first": Ref("b")}),
    ]


def run(folder: Path, nodes: list[Node], timings: str = AUTO, run_id: str = "one") -> Results:
    settings = RunnerSettings(seed=0, timings=timings)
    runner = Runner(Store(folder), NullObserver(), settings, logs=folder / "logs", run_id=run_id)
    return runner.run(nodes)


def plan(folder: Path, nodes: list[Node], timings: str = AUTO) -> dict[str, list[str] | str]:
    return {s.node.id: "cached" if s.cached else s.reasons for s in survey(nodes, Store(folder), 0, timings=timings)}


CACHED = dict.fromkeys(("a", "b", "time", "score"), "cached")


def test_a_plan_names_what_changed_and_what_follows(tmp_path: Path) -> None:
    assert plan(tmp_path / "none", graph())["a"] == ["there is no result of it yet"]
    assert not (tmp_path / "none").exists()  # looking writes nothing
    run(tmp_path, graph())
    assert plan(tmp_path, graph()) == CACHED
    assert plan(tmp_path, graph(b="B")) == {
        "a": "cached",
        "b": ["text b -> B"],
        "time": ["b runs"],
        "score": ["b runs"],
    }
    twice = plan(tmp_path, [*graph(a="A")[:1], node("b", "B", inputs={"first": Ref("a")})])
    assert twice == {"a": ["text a -> A"], "b": ["a runs", "text b -> B"]}


def test_origins_name_the_key_and_are_no_part_of_it(tmp_path: Path) -> None:
    run(tmp_path, [node("a")])  # as earlier versions did, which knew no origins
    origins = {"text": "compression.text"}
    assert plan(tmp_path, [node("a", origins=origins)]) == {"a": "cached"}
    assert plan(tmp_path, [node("a", "bye", origins=origins)]) == {"a": ["compression.text hello -> bye"]}
    waiting = node("b", "B", inputs={"first": Ref("a")})
    run(tmp_path, [node("a"), waiting])
    later = node("b", "C", inputs={"first": Ref("a")}, origins=origins)
    assert plan(tmp_path, [node("a", "bye"), later])["b"] == ["a runs", "compression.text B -> C"]


def test_a_plan_compares_with_the_nearest_result_and_estimates_by_it(tmp_path: Path) -> None:
    run(tmp_path, [node("a", "near", fingerprint={"driver": "1", "card": "x"})])
    run(tmp_path, [node("a", "far", fingerprint={"driver": "2", "card": "y"})])
    asked = [node("a", "near", fingerprint={"driver": "3", "card": "x"})]
    (step,) = estimate(survey(asked, Store(tmp_path), 0), Store(tmp_path))
    assert step.reasons == ["driver 1 -> 3"]
    assert step.seconds is not None and step.seconds > 0
    assert step.size is not None and step.size > 100


def test_a_broken_record_is_a_reason(tmp_path: Path) -> None:
    results = run(tmp_path, [node("a")])
    (results.artifacts["a"].root.parent / "entry.json").write_text("{")
    assert "cannot be read" in plan(tmp_path, [node("a")])["a"][0]


def test_timings_are_kept_only_together_and_on_the_machine_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, graph())
    again = run(tmp_path, graph(), run_id="two")
    assert again.cached == set(CACHED) and again.timed_in == {"time": "one"}
    assert plan(tmp_path, graph(), FRESH)["time"] == ["run.reuse_latency=false: measured in every run"]
    # what is scored is no reason to time again; what is timed is
    assert plan(tmp_path, [*graph()[:3], node("score", "new", inputs={"first": Ref("b")})])["time"] == "cached"
    another = [*graph(), node("time2", "new", inputs={"first": Ref("b")}, timed=True)]
    assert plan(tmp_path, another)["time"] == ["timings of one table are taken in one run, and time2 runs"]
    run(tmp_path, another[-1:] and [*graph()[:2], another[-1]], run_id="three")
    assert "these are of several" in plan(tmp_path, another)["time"][0]
    assert run(tmp_path, another, run_id="four").cached == {"a", "b", "score"}
    assert plan(tmp_path, another) == {**CACHED, "time2": "cached"}
    monkeypatch.setattr(provenance, "machine", lambda: "rebooted")
    assert "started anew" in plan(tmp_path, another)["time"][0]
    assert plan(tmp_path, another, ANY)["time"] == "cached"
    assert run(tmp_path, graph(), FRESH).cached == {"a", "b", "score"}


def test_timings_of_another_table_stand_by_themselves(tmp_path: Path) -> None:
    """A profile that is new or was disturbed is no reason to time the engines again, and the other way round."""
    run(tmp_path, graph())
    beside = [*graph(), node("where", "where", inputs={"first": Ref("b")}, timed=True, table="profile")]
    assert plan(tmp_path, beside)["time"] == "cached"
    both = run(tmp_path, beside, run_id="two")
    assert "time" in both.cached and "where" not in both.cached
    assert both.timed_in == {"time": "one"}  # which a report takes for when its times were taken
    again = run(tmp_path, beside, run_id="three")
    assert {"time", "where"} <= again.cached and again.timed_in == {"time": "one"}
    assert "timed in run two" in said(tmp_path, beside, "where")  # it is told all the same
    assert not {"time", "where"} & run(tmp_path, beside, FRESH, run_id="four").cached


def timing(loud: Path, **options: Any) -> list[Node]:
    made = TimingOptions(loud=str(loud), **options)
    return [Node(id="time", stage="tests.pipelines.stub_timing:StubTiming", options=made, timed=True)]


class Notes(NullObserver):
    """Keeps what stages were told."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.by_stage: dict[str, list[str]] = {}

    def stage_event(self, stage: StageInfo, event: Mapping[str, Any]) -> None:
        self.messages.append(str(event.get("message")))
        self.by_stage.setdefault(stage.id, []).append(self.messages[-1])


def said(folder: Path, nodes: list[Node], name: str) -> list[str]:
    """What a run tells of one node."""
    notes = Notes()
    settings = RunnerSettings(seed=0, timings=AUTO)
    Runner(Store(folder), notes, settings, logs=folder / "logs", run_id="last").run(nodes)
    return notes.by_stage[name]


def test_only_timings_that_nothing_disturbed_are_taken_from_the_store(tmp_path: Path) -> None:
    loud, notes = tmp_path / "loud", Notes()
    loud.touch()

    def again(timings: str = AUTO) -> set[str]:
        settings = RunnerSettings(seed=0, timings=timings)
        locks = DeviceLocks(tmp_path / "locks")  # the host's other measurements are waited for, and that is told
        runner = Runner(Store(tmp_path), notes, settings, logs=tmp_path / "logs", run_id="r", devices=locks)
        return runner.run(timing(loud)).cached

    why = "time: the timing was disturbed: int8 runtime: invalid: CPU shared with the load of other processes"
    assert again() == set() and notes.messages == []
    (reason,) = plan(tmp_path, timing(loud))["time"]
    assert reason.startswith(why)
    assert again() == set()
    assert notes.messages[-1].startswith(f"timings are taken anew; {why.removeprefix('time: ')}")
    assert again(ANY) == {"time"} and plan(tmp_path, timing(loud), ANY) == {"time": "cached"}
    loud.unlink()
    assert again() == set()  # the one in the store is the disturbed one still
    assert again() == {"time"} and plan(tmp_path, timing(loud)) == {"time": "cached"}


def test_a_timing_that_leaves_a_gate_undecided_is_taken_anew_while_more_rounds_are_allowed(tmp_path: Path) -> None:
    loud = tmp_path / "loud"
    run(tmp_path, timing(loud))
    assert plan(tmp_path, timing(loud, limits={"over_fp32.runtime": 1.2})) == {"time": "cached"}
    undecided = {"limits": {"over_fp32.runtime": 1.5}}
    assert plan(tmp_path, timing(loud, **undecided)) == {"time": [
        "time: a gate on over_fp32.int8.runtime is undecided after 3 rounds, and latency.max_rounds=20"
    ]}  # fmt: skip
    assert plan(tmp_path, timing(loud, **undecided, max_rounds=3)) == {"time": "cached"}


def test_changes_are_told_by_the_keys_of_the_config() -> None:
    base = {"stage": "build", "version": 1, "inputs": {"model": "1"}, "fingerprint": {"onnxruntime": "1.20"}}
    old = {**base, "options": {"backend": "onnxruntime", "options": {"threads": 1, "lowering": None}}}
    new = {
        **base,
        "version": 2,
        "inputs": {"model": "2"},
        "fingerprint": {"onnxruntime": "1.21"},
        "options": {"backend": "onnxruntime", "options": {"threads": 2, "lowering": None}},
    }
    origins = {"backend": "backend", "options": "backend.onnxruntime"}
    assert changes(old, new, {"model": "the result of export.fp32"}, origins) == [
        "the stage itself changed (version 1 -> 2)",
        "backend.onnxruntime.threads 1 -> 2",
        "onnxruntime 1.20 -> 1.21",
        "the result of export.fp32 is another",
    ]
    distill = {"stage": "distill", "version": 1, "inputs": {}, "fingerprint": {}, "options": {"lr": 1, "x": True}}
    changed = {**distill, "options": {"lr": 2, "x": True}, "seed": 3}
    assert changes(distill, changed, {}, {"lr": "compression.lr"}) == [
        "compression.lr 1 -> 2",
        "seed (none) -> 3",
    ]


def test_numbers_for_people() -> None:
    assert [duration(s) for s in (None, 0.84, 42.2, 200, 9000)] == ["", "0.8 s", "42 s", "3 min", "2.5 h"]
    assert [size(n) for n in (None, 12, 3400, 214e6, 3.1e12)] == ["", "12 B", "3.4 kB", "214 MB", "3100 GB"]


@pytest.mark.paddle
def test_the_command_plans_the_demo_and_loads_nothing_heavy(tmp_path: Path) -> None:
    heavy = ["mlflow", "paddle", "onnx", "onnxruntime", "cv2", "pycocotools", "pandas", "scipy"]
    script = f"import sys; from pipelines.cli import main; code = main(sys.argv[1:]); print(sorted(set({heavy}) & "
    script += "set(sys.modules)), code)"
    arguments = ["plan", "--json", "model.random_weights=true", f"run.artifacts={tmp_path / 'a'}"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    *text, last = done.stdout.splitlines()
    assert last == "[] 0", done.stderr
    shown = json.loads("\n".join(text))
    assert [s["id"] for s in shown["stages"]][:4] == ["draw", "labels.val", "images.unlabeled", "export.fp32"]
    assert shown["unchanged"] is False and shown["missing"] == []
    assert shown["stages"][0] == {
        "id": "draw",
        "state": "run",
        "because": ["there is no result of it yet"],
        "entry": shown["stages"][0]["entry"],
        "follows": False,
        "checkpoint": False,
        "seconds": None,
        "bytes": None,
    }
    assert list(tmp_path.iterdir()) == []


@pytest.mark.paddle
def test_a_plan_downloads_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETPRESS_CACHE", str(tmp_path / "cache"))
    arguments = ["plan", "model=ppyoloe_s", "model.weights=https://example.invalid/w.pdparams", "data.kind=shapes"]
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *arguments, f"run.artifacts={tmp_path / 'a'}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "note: model.weights is downloaded first" in done.stdout
    assert list(tmp_path.iterdir()) == []
