"""What the terminal shows of a run, with and without a terminal, and what it keeps for ``logs/all.log``."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines.config.schema import PipelineConfig
from pipelines.execution.events import PlannedStage, RunInfo, StageInfo
from pipelines.graph.compress import compress_graph
from pipelines.runs import console as module
from pipelines.runs.console import ConsoleObserver, LogObserver
from stages.artifacts import Checkpoint
from stages.backends.onnxruntime.options import OnnxRuntimeOptions

STAGE = StageInfo(id="distill", stage="distill", key="k")
MADE = Checkpoint(root=Path(), files={}, weights="")


def stage(name: str) -> StageInfo:
    return StageInfo(id=name, stage=name, key="k")


def observer(terminal: bool = False, details: bool = False) -> tuple[ConsoleObserver, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=200, highlight=False, no_color=True)
    return ConsoleObserver(console, details=details), stream


def shown(
    events: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    terminal: bool = False,
    details: bool = False,
    every: float = 3.0,
    plan: list[PlannedStage] | None = None,
) -> list[str]:
    """The lines of a stage that sends an event every three seconds."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    made, stream = observer(terminal, details)
    made._plan = {one.id: one for one in plan or []}
    made.stage_started(STAGE)
    for event in events:
        now[0] += every
        made.stage_event(STAGE, {"event": "progress", **event})
    made._stop()
    return stream.getvalue().splitlines()


def points(count: int, **more: float) -> list[dict[str, Any]]:
    return [{"done": d, "total": count, **more} for d in range(1, count + 1)]


def test_a_long_stage_gets_lines_that_become_rarer(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(points(4000, images_per_s=4.0), monkeypatch)  # over three hours
    assert lines[0].startswith("    distill 20/4000  images_per_s 4  1 min so far, ")
    done = [int(line.split()[1].partition("/")[0]) for line in lines]
    gaps = [3 * (b - a) for a, b in pairwise(done)]
    assert gaps[:3] == [120, 180, 240] and max(gaps) == 600 and gaps == sorted(gaps)
    assert len(lines) < 30


def test_lines_become_rarer_over_the_run_not_over_each_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    made, stream = observer()
    for name in ("distill", "latency", "accuracy"):  # of four minutes each
        made.stage_started(stage(name))
        for event in points(80):
            now[0] += 3.0
            made.stage_event(stage(name), {"event": "progress", **event})
    told = [line.split()[:2] for line in stream.getvalue().splitlines()]
    assert told == [["distill", "20/80"], ["distill", "60/80"], ["latency", "60/80"], ["accuracy", "80/80"]]


def test_the_rate_is_the_stages_own_and_the_run_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = [PlannedStage("distill", seconds=900.0), PlannedStage("latency", seconds=60.0), PlannedStage("report")]
    first, *_ = shown(points(100), monkeypatch, plan=plan)[1:]  # the first line announces it
    assert first == "    distill 20/100  1 min so far, 4 min left, run 5 min"
    more = [*plan, PlannedStage("accuracy")]  # nothing like it was computed before
    assert shown(points(100), monkeypatch, plan=more)[1].endswith("4 min left, run more than 5 min")


def test_a_long_stage_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown([], monkeypatch, plan=[PlannedStage("distill", seconds=46_800.0)]) == [
        "  1/1 distill begins: about 13 h"
    ]
    assert shown([], monkeypatch, plan=[PlannedStage("distill", seconds=5.0)]) == []


def test_with_details_each_point_of_a_curve_gets_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = points(40, loss=1.5, lr=3e-5)[9::10]
    lines = shown(curve, monkeypatch, details=True)
    assert len(lines) == 4 and all("loss 1.5  lr 3e-05" in line for line in lines)
    assert lines[1].startswith("    distill 20/40")
    assert shown(curve, monkeypatch) == []  # twelve seconds


def test_a_terminal_gets_one_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Progress", bars := _Bars())
    curve = [{"done": d, "total": 40, "loss": 1.5} for d in (10, 20, 30, 40)]
    assert shown(curve, monkeypatch, terminal=True) == []
    assert bars.made == 1 and bars.done == [10, 20, 30, 40]
    assert bars.left == ["", "6 s left", "3 s left", ""]


def test_a_plan_is_told_and_a_stage_says_which_of_how_many_it_is() -> None:
    made, stream = observer()
    made.planned([PlannedStage("a", cached=True), PlannedStage("b", cached=True), PlannedStage("c", seconds=200.0)])
    for name, cached in (("a", True), ("b", True), ("c", False)):
        made.stage_started(stage(name))
        made.stage_finished(stage(name), MADE, cached, 7.0)
    assert stream.getvalue().splitlines() == [
        "  3 stages, 2 of them cached; about 3 min 20 s",
        "  ✓ 2 stages cached",
        "  3/3 c begins: about 3 min 20 s",
        f"  ✓ 3/3 {'c':<28} 7.0 s",
    ]


def test_a_run_that_takes_all_from_the_store_is_a_few_lines() -> None:
    made, stream = observer()
    names = [f"s{i}" for i in range(30)]
    made.planned([*(PlannedStage(name, cached=True) for name in names), PlannedStage("report")])
    for name in names:
        made.stage_started(stage(name))
        made.stage_event(stage(name), {"event": "metric", "name": "x", "value": 1.0, "step": None})
        made.stage_finished(stage(name), MADE, True, 0.0)
    made.run_finished("FINISHED", {}, None)
    assert stream.getvalue().splitlines() == [
        "  31 stages, 30 of them cached; nothing has to be computed",
        "  ✓ 30 stages cached",
    ]


def test_what_takes_hours_names_the_override_for_a_first_try() -> None:
    made, stream = observer()
    made.planned([PlannedStage("distill", seconds=13 * 3600.0, rough=True, shorter="compression.steps=50")])
    assert stream.getvalue().splitlines() == [
        "  1 stage; about 13 h, as other models took",
        "  distill alone takes about 13 h on this machine; a first try: compression.steps=50",
    ]


def test_what_is_not_known_is_not_called_short() -> None:
    made, stream = observer()
    made.planned([PlannedStage("distill"), PlannedStage("report")])
    made.planned([PlannedStage("distill", seconds=60.0), PlannedStage("build"), PlannedStage("report")])
    made.planned([PlannedStage("labels", seconds=3.0), PlannedStage("distill"), PlannedStage("report")])
    first, second, third = stream.getvalue().splitlines()
    assert first.endswith("how long they take is not known: none was computed on this machine yet")
    assert third.endswith("how long they take is not known: not all were computed on this machine yet")
    assert second == "  3 stages; at least 1 min"


def test_details_and_all_but_the_first_warning_are_for_the_log() -> None:
    events: list[dict[str, Any]] = [
        {"event": "info", "message": "computes on GPU 0"},
        {"event": "info", "message": "distilled nodes: a, b", "detail": True},
        *({"event": "warning", "message": f"invalid {i}"} for i in range(4)),
    ]

    def told(details: bool) -> list[str]:
        made, stream = observer(details=details)
        made.stage_started(STAGE)
        for event in events:
            made.stage_event(STAGE, event)
        made.stage_finished(STAGE, MADE, False, 3.0)
        return stream.getvalue().splitlines()

    assert told(False) == [
        "  distill: computes on GPU 0",
        "  warning distill: invalid 0",
        f"  ✓ 1/1 {'distill':<28} 3.0 s  3 more warnings in logs/all.log",
    ]
    assert [line for line in told(True) if "invalid" in line or "nodes" in line] == [
        "  distill: distilled nodes: a, b",
        *(f"  warning distill: invalid {i}" for i in range(4)),
    ]


def test_the_log_of_a_run_has_everything(tmp_path: Path) -> None:
    log = LogObserver()
    info: dict[str, Any] = {"pipeline": "compress", "config": {}, "command": "", "hardware": "x"}
    log.run_started(RunInfo(run_id="r", name="r", model="m", data="d", run_dir=tmp_path, **info))
    log.stage_started(STAGE)
    log.stage_event(STAGE, {"event": "info", "message": "distilled nodes: a", "detail": True})
    log.stage_finished(STAGE, MADE, True, 0.0)
    log.run_finished("FINISHED", {}, None)
    log.close()
    log.close()
    assert (tmp_path / "logs" / "all.log").read_text().splitlines() == [
        "r  m on d, x",
        "  distill: distilled nodes: a",
        f"  ✓ 1/1 {'distill':<28} cached",
        "FINISHED",
    ]


@pytest.mark.parametrize("slow", [0.2, 1.0, 6.0])
def test_the_demo_is_few_lines_in_a_log_on_a_slow_machine_too(slow: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what its stages say on a disturbed machine; the verdict, the page and the path are a dozen lines more."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    config = PipelineConfig()
    config.data.kind, config.backend = "shapes", {"onnxruntime": OnnxRuntimeOptions()}
    names = [node.id for node in compress_graph(config, None, threads=1)] + ["report"]
    made, stream = observer()
    made.planned([PlannedStage(name) for name in names])
    for name in names:
        made.stage_started(stage(name))
        for i in range(15):
            made.stage_event(stage(name), {"event": "info", "message": f"layer {i} stays in fp32", "detail": True})
        for done in range(100 if name in ("distill", "latency.onnxruntime") else 3):
            now[0] += slow
            made.stage_event(stage(name), {"event": "progress", "done": done, "total": 100, "loss": 1.0})
        if name == "latency.onnxruntime":
            for i in range(4):
                made.stage_event(stage(name), {"event": "warning", "message": f"invalid {i}"})
        made.stage_finished(stage(name), MADE, False, 100 * slow)
    lines = stream.getvalue().splitlines()
    assert len(names) == 17 and len(names) <= len(lines) <= 40 - 12
    assert not any("stays in fp32" in line for line in lines)


class _Bars:
    """Stands for rich's ``Progress``, which draws in a thread of its own."""

    def __init__(self) -> None:
        self.made = 0
        self.done: list[int] = []
        self.left: list[str] = []

    def __call__(self, *_: object, **__: object) -> _Bars:
        self.made += 1
        return self

    def add_task(self, *_: object, **__: object) -> int:
        return 0

    def update(self, _: int, *, completed: int, left: str, **__: object) -> None:
        self.done.append(completed)
        self.left.append(left)

    def start(self) -> None: ...

    def stop(self) -> None: ...
