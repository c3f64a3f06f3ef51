"""A run told to the observer is found again in MLflow, whole, whatever happened to the store meanwhile."""

from __future__ import annotations

import dataclasses
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.config.options.tracking import TrackingOptions
from pipelines.execution.events import NullObserver, Observers, RunInfo, StageInfo
from pipelines.system.locks import held
from pipelines.system.run_lock import alive
from pipelines.tracking import observer as tracking
from pipelines.tracking import writer
from pipelines.tracking.client import connect, store_uri, sweep
from pipelines.tracking.experiments import VIEW_TAG
from pipelines.tracking.measured import collect
from pipelines.tracking.models import Engines
from pipelines.tracking.names import (
    disturbed_loads,
    disturbed_metrics,
    headline,
    readable,
    result_table,
    results_view,
    timing_tags,
)
from pipelines.tracking.observer import MlflowObserver
from pipelines.tracking.spool import Spool, leftovers
from stages.artifacts import AccuracyResult, ImageList, LatencyResult, Precision, hash_files
from stages.errors import StageError, UnavailableError
from stages.report.pareto import of_report
from tests.fakes import FakeContext
from tests.object_storage import local_s3, use
from tests.pipelines.drawn_runs import report as drawn_report
from tests.stages.report.test_report import GATES, everything
from tests.stages.report.test_report import report as engines_report

if TYPE_CHECKING:
    from mlflow.entities import Run

pytestmark = [
    pytest.mark.slow,
    # MLflow's own tables, under the SQLAlchemy that its pins allow.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TrackingOptions:
    """A local store; its tables take seconds to make, so the tests share it."""
    return TrackingOptions(folder=str(tmp_path_factory.mktemp("mlflow")))


@pytest.fixture(autouse=True)
def _env_restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``connect`` sets variables of the process; they go when the test ends."""
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "CI"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(tracking, "KILLED_SECONDS", 60.0)  # a test waits for what it looks at
    yield


def run_info(tmp_path: Path, run_id: str, **more: Any) -> RunInfo:
    values: dict[str, Any] = {
        "run_id": run_id,
        "name": run_id,
        "pipeline": "compress",
        "model": "ppyoloe_tiny",
        "data": "shapes",
        "config": {"seed": 0, "compression": {"steps": 30, "ops": ["conv2d"]}, "hook": {"token": "hunter2"}},
        "command": "detpress compress tracking.uri=http://u:hunter2@h",
        "hardware": "a processor",
        "commit": "0123abcd",
        "run_dir": tmp_path / "runs" / run_id,
    }
    return RunInfo(**{**values, **more})


def files_in(folder: Path, **contents: object) -> dict[str, Any]:
    """``root`` and ``files`` of an artifact with JSON files of these contents."""
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return {"root": folder, "files": hash_files(folder)}


def image_list(tmp_path: Path) -> ImageList:
    return ImageList(**files_in(tmp_path / "images", images=[]), count=100, skipped=2)


def tell_small_run(observer: Any, tmp_path: Path, run_id: str, *, status: str = "FINISHED") -> None:
    """A run with one data set, one training stage with a curve, and a failed stage."""
    images = image_list(tmp_path)
    observer.run_started(run_info(tmp_path, run_id))
    collect = StageInfo(id="images.unlabeled", stage="collect_unlabeled", key="k1")
    observer.stage_started(collect)
    observer.stage_finished(collect, images, True, 0.1)
    distill = StageInfo(
        id="distill",
        stage="distill",
        key="k2",
        options={"lr": 3e-5, "model": {"name": "tiny"}},
        inputs={"images": images.digest},
    )
    observer.stage_started(distill)
    for step in range(0, 30, 10):
        observer.stage_event(distill, {"event": "metric", "name": "loss", "value": 1.0 / (step + 1), "step": step})
    observer.stage_event(distill, {"event": "progress", "done": 30, "total": 30, "loss": 0.03, "images_per_s": 12.5})
    observer.stage_event(distill, {"event": "warning", "message": "one image is black; api_key=hunter2"})
    observer.stage_failed(distill, StageError("it broke\nin two lines"), 3.0)
    observer.run_finished(status, {"error": "it broke"}, None)


def parent_and_nested(options: TrackingOptions, run_id: str) -> tuple[Run, dict[str, Run]]:
    client = connect(options)
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = {r.data.tags["node"]: r for r in client.search_runs(experiments, f"tags.run_id = '{run_id}'")}
    return runs.pop("pipeline"), runs


def artifact_names(options: TrackingOptions, run: Run) -> set[str]:
    return {f.path for f in connect(options).list_artifacts(run.info.run_id)}


def not_computed(options: TrackingOptions, run: Run) -> dict[str, Any]:
    """The table of what was not computed."""
    path = connect(options).download_artifacts(run.info.run_id, "not_computed.json")
    found: dict[str, Any] = json.loads(Path(path).read_text())
    return found


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_run_and_its_stages(store: TrackingOptions, tmp_path: Path) -> None:
    observer = MlflowObserver(store)
    tell_small_run(observer, tmp_path, "whole", status="FAILED")
    assert observer.warnings == []
    parent, nested = parent_and_nested(store, "whole")

    assert connect(store).get_experiment(parent.info.experiment_id).name == "ppyoloe_tiny on shapes"
    assert (parent.info.status, parent.info.run_name) == ("FAILED", "whole")
    assert parent.data.params["compression.steps"] == "30"
    assert parent.data.params["compression.ops"] == "[conv2d]"
    assert parent.data.tags["commit"] == "0123abcd"
    assert "it broke" in parent.data.tags["mlflow.note.content"]
    assert artifact_names(store, parent) == {"config.yaml", "not_computed.json"}

    assert set(nested) == {"distill"}  # the images came from the store: a line of a table
    assert nested["distill"].data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert parent.data.tags["from_store"] == "1 of 2 stages"
    table = not_computed(store, parent)
    assert table["columns"] == ["stage", "why", "key", "result", "bytes"]
    assert [row[:4] for row in table["data"]] == [["images.unlabeled", "from the store", "k1", "ImageList"]]
    assert json.loads(parent.data.tags["mlflow.loggedArtifacts"]) == [{"path": "not_computed.json", "type": "table"}]
    distilled = nested["distill"]
    assert (distilled.info.status, distilled.data.tags["error"]) == ("FAILED", "it broke")
    assert distilled.data.params == {"lr": "3e-05", "model.name": "tiny"}
    assert distilled.data.metrics["seconds"] == 3.0
    assert artifact_names(store, distilled) == {"error.txt", "log.txt"}


def test_curves_have_steps_in_the_stage_and_in_the_run(store: TrackingOptions, tmp_path: Path) -> None:
    tell_small_run(MlflowObserver(store), tmp_path, "curve")
    parent, nested = parent_and_nested(store, "curve")
    client = connect(store)
    for run_id, name in ((nested["distill"].info.run_id, "loss"), (parent.info.run_id, "distill/loss")):
        points = [(m.step, m.value) for m in client.get_metric_history(run_id, name)]
        assert points == [(0, 1.0), (10, pytest.approx(1 / 11, rel=1e-5)), (20, pytest.approx(1 / 21, rel=1e-5))]
    assert [m.step for m in client.get_metric_history(nested["distill"].info.run_id, "images_per_s")] == [30]


def test_artifacts_may_lie_in_object_storage(
    store: TrackingOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3")
    options = dataclasses.replace(store, experiment="on S3", artifact_location="s3://records/mlflow")
    with local_s3() as endpoint:
        use(endpoint, monkeypatch, "records")
        observer = MlflowObserver(options)
        observer.run_started(run_info(tmp_path, "on-s3"))
        observer.run_finished("FAILED", {"error": "it broke"}, None)
        assert observer.warnings == []
        parent, _ = parent_and_nested(options, "on-s3")
        assert parent.info.artifact_uri.startswith("s3://records/mlflow/")
        assert "config.yaml" in artifact_names(options, parent)


def test_data_sets_are_inputs_with_digests(store: TrackingOptions, tmp_path: Path) -> None:
    tell_small_run(MlflowObserver(store), tmp_path, "data")
    parent, nested = parent_and_nested(store, "data")
    digest = ImageList(root=tmp_path / "images", files=hash_files(tmp_path / "images"), count=100, skipped=2).digest
    for run, context in ((parent, "unlabeled"), (nested["distill"], "images")):
        (given,) = run.inputs.dataset_inputs
        assert (given.dataset.name, given.dataset.digest) == ("shapes unlabeled", digest[:12])
        assert {t.key: t.value for t in given.tags} == {"mlflow.data.context": context}
        assert json.loads(given.dataset.profile) == {"num_rows": 100, "skipped": 2}


def test_results_have_one_comparable_name_per_backend(store: TrackingOptions, tmp_path: Path) -> None:
    observer = MlflowObserver(store)
    observer.run_started(run_info(tmp_path, "results"))
    accuracy = AccuracyResult(
        **files_in(tmp_path / "a", accuracy={"map": 41.0}, detections=[]),
        backend="onnxruntime",
        precision=Precision.INT8,
    )
    stage = StageInfo(
        id="accuracy.onnxruntime.int8", stage="accuracy", key="k", backend="onnxruntime", precision="int8"
    )
    observer.stage_started(stage)
    observer.stage_event(stage, {"event": "progress", "done": 1, "total": 1, "images_per_s": 9.0})
    observer.stage_event(stage, {"event": "metric", "name": "map.onnxruntime.int8", "value": 41.0, "step": None})
    observer.stage_finished(stage, accuracy, False, 2.0)
    stage = StageInfo(id="export.fp32", stage="export", key="k", precision="fp32")
    observer.stage_started(stage)
    observer.stage_event(stage, {"event": "metric", "name": "agreement.boxes", "value": 1e-6, "step": None})
    observer.stage_finished(stage, image_list(tmp_path), False, 2.0)
    report = tmp_path / "report"
    report.mkdir()
    (report / "report.md").write_text("| backend | INT8 |\n|---|---|\n| ONNX Runtime | 4.5 |\n")
    (report / "report.json").write_text("{}")
    observer.run_finished("FINISHED", {}, report)

    assert observer.warnings == []
    parent, nested = parent_and_nested(store, "results")
    assert parent.data.metrics == {"map/onnxruntime.int8": 41.0}
    assert nested["accuracy.onnxruntime.int8"].data.metrics["map/onnxruntime.int8"] == 41.0
    assert nested["accuracy.onnxruntime.int8"].data.metrics["images_per_s"] == 9.0
    assert nested["export.fp32"].data.metrics["agreement/boxes"] == 1e-6
    tags = connect(store).get_experiment(parent.info.experiment_id).tags
    assert json.loads(tags[VIEW_TAG])["selectedColumns"] == ["metrics.`map/onnxruntime.int8`"]
    assert nested["accuracy.onnxruntime.int8"].data.tags["backend"] == "onnxruntime"
    assert parent.data.tags["mlflow.note.content"].startswith("| backend | INT8 |")
    assert artifact_names(store, parent) == {"config.yaml", "report.json", "report.md"}


def test_secrets_reach_neither_the_store_nor_the_disk(store: TrackingOptions, tmp_path: Path) -> None:
    observer = MlflowObserver(store)
    tell_small_run(observer, tmp_path, "secret")
    closed = TrackingOptions(uri=f"http://anna:hunter2@127.0.0.1:{closed_port()}")
    unreachable = MlflowObserver(closed)
    (tmp_path / "second").mkdir()
    tell_small_run(unreachable, tmp_path / "second", "secret")
    assert "hunter2" not in str(unreachable.warnings)
    assert "hunter2" not in (tmp_path / "second/runs/secret/tracking.jsonl").read_text()
    parent, nested = parent_and_nested(store, "secret")
    assert "hunter2" not in str([r.to_dictionary() for r in (parent, *nested.values())])
    assert not any(b"hunter2" in p.read_bytes() for p in Path(store.folder).rglob("*") if p.is_file())


def test_an_unreachable_server_costs_the_run_nothing_and_loses_nothing(store: TrackingOptions, tmp_path: Path) -> None:
    dead = TrackingOptions(uri=f"http://127.0.0.1:{closed_port()}", timeout=2)
    observer = MlflowObserver(dead)
    started = time.monotonic()
    tell_small_run(observer, tmp_path, "offline")
    assert time.monotonic() - started < 30
    (warning,) = observer.warnings
    spool = tmp_path / "runs/offline/tracking.jsonl"
    assert str(spool) in warning
    assert "127.0.0.1" in warning
    records = [json.loads(line) for line in spool.read_text().splitlines()]
    assert [r["kind"] for r in records][-2:] == ["stage_failed", "run_finished"]

    # The server comes back (here: the same records, meant for the store that can be reached): the next run sends them.
    records[0]["store"] = store_uri(store)
    spool.write_text("".join(json.dumps(r) + "\n" for r in records))
    later = MlflowObserver(store)
    later.run_started(run_info(tmp_path, "later"))
    later.run_finished("FINISHED", {}, None)
    assert later.warnings == []
    assert not spool.exists()
    parent, nested = parent_and_nested(store, "offline")
    assert (parent.info.status, nested["distill"].info.status) == ("FINISHED", "FAILED")
    assert parent.info.end_time == records[-1]["at"]


@pytest.mark.parametrize("reached", [True, False])
def test_a_process_that_lives_on_lets_go_of_what_took_too_long_to_send(
    reached: bool, store: TrackingOptions, tmp_path: Path
) -> None:
    """A notebook: nobody else could send it, as long as its process has the file."""
    options = store if reached else TrackingOptions(uri=f"http://127.0.0.1:{closed_port()}", timeout=1)
    observer = MlflowObserver(options, close_seconds=0.0)
    tell_small_run(observer, tmp_path, "late")
    spool = tmp_path / "runs/late/tracking.jsonl"
    assert "it did not take everything within 0 s" in observer.warnings[0]
    observer._thread.join(60)
    assert not held(spool)
    assert spool.exists() != reached


def test_events_sent_twice_are_there_once(store: TrackingOptions, tmp_path: Path) -> None:
    tell_small_run(MlflowObserver(TrackingOptions(uri="http://127.0.0.1:9", timeout=1)), tmp_path, "twice")
    spool = tmp_path / "runs/twice/tracking.jsonl"
    text = spool.read_text().replace("http://127.0.0.1:9", store_uri(store))
    for number in range(2):
        spool.write_text(text)
        observer = MlflowObserver(store)
        observer.run_started(run_info(tmp_path, f"sender{number}"))
        observer.run_finished("FINISHED", {}, None)
        assert observer.warnings == []
    parent, nested = parent_and_nested(store, "twice")
    assert len(nested) == 1 and len(not_computed(store, parent)["data"]) == 1
    assert parent.data.tags["from_store"] == "1 of 2 stages"
    assert len(connect(store).get_metric_history(parent.info.run_id, "distill/loss")) == 3
    assert len(parent.inputs.dataset_inputs) == 1
    client = connect(store)
    assert len(client.search_runs([parent.info.experiment_id], "tags.run_id = 'twice' and tags.node = 'pipeline'")) == 1


def test_a_run_whose_process_was_killed_is_marked(store: TrackingOptions, tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, '.')\n"
        "from tests.pipelines.tracking.test_observer import *\n"
        f"observer = MlflowObserver(TrackingOptions(folder={store.folder!r}))\n"
        f"observer.run_started(run_info(Path({str(tmp_path)!r}), 'killed'))\n"
        "stage = StageInfo(id='distill', stage='distill', key='k')\n"
        "observer.stage_started(stage)\n"
        "observer.stage_event(stage, {'event': 'progress', 'done': 0, 'total': 9})\n"
        "while observer._queue.qsize(): time.sleep(0.05)\n"
        "time.sleep(1)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == -9
    parent, nested = parent_and_nested(store, "killed")
    assert (parent.info.status, nested["distill"].info.status) == ("RUNNING", "RUNNING")
    spool = tmp_path / "runs/killed/tracking.jsonl"
    assert spool.exists()

    alive = MlflowObserver(store)
    alive.run_started(run_info(tmp_path, "alive"))
    after = MlflowObserver(store)
    after.run_started(run_info(tmp_path, "after"))
    after.run_finished("FINISHED", {}, None)
    assert parent_and_nested(store, "alive")[0].info.status == "RUNNING"  # its process lives
    alive.run_finished("FINISHED", {}, None)
    parent, nested = parent_and_nested(store, "killed")
    assert (parent.info.status, nested["distill"].info.status) == ("KILLED", "KILLED")
    assert not spool.exists()


def test_a_run_of_a_lost_machine_is_marked_where_its_folder_is_shared(store: TrackingOptions, tmp_path: Path) -> None:
    client = connect(store)
    experiment = client.create_experiment("machines")
    lost, going, unseen = (tmp_path / name for name in ("lost", "going", "unseen"))
    for folder in (lost, going):
        folder.mkdir()
        (folder / "run.json").write_text("{}")
    made = {}
    for folder in (lost, going, unseen):
        tags = {"host": "elsewhere", "pid": "1", "run_dir": str(folder), "node": "pipeline"}
        made[folder] = client.create_run(experiment, tags=tags).info.run_id
    nested = client.create_run(experiment, tags={"mlflow.parentRunId": made[lost], "host": "elsewhere"}).info.run_id
    with alive(going):
        sweep(client)
    statuses = [client.get_run(run_id).info.status for run_id in (*made.values(), nested)]
    assert statuses == ["KILLED", "RUNNING", "RUNNING", "KILLED"]


def test_a_second_end_is_not_heard(store: TrackingOptions, tmp_path: Path) -> None:
    observer = MlflowObserver(store)
    observer.run_started(run_info(tmp_path, "ends"))
    observer.run_finished("KILLED", {}, None)
    observer.run_finished("FAILED", {}, None)
    assert parent_and_nested(store, "ends")[0].info.status == "KILLED"


def test_the_spool_is_of_its_run_alone(tmp_path: Path) -> None:
    mine = Spool(tmp_path / "runs/a/tracking.jsonl")
    mine.append({"kind": "x"})
    assert list(leftovers(tmp_path / "runs")) == []
    with mine.path.open("a") as stream:
        stream.write('{"kind": "cut o')
    mine.close(delivered=False)
    (tmp_path / "runs/latest").symlink_to("a")
    (left,) = leftovers(tmp_path / "runs")
    assert list(left.records()) == [{"kind": "x"}]
    left.close(delivered=True)
    assert not mine.path.exists()


def test_an_observer_that_raises_is_dropped_with_one_warning(tmp_path: Path) -> None:
    class Bad(NullObserver):
        def stage_event(self, stage: StageInfo, event: Any) -> None:
            raise OSError("disk full")

    class Good(NullObserver):
        def __init__(self) -> None:
            super().__init__()
            self.heard: list[Any] = []

        def stage_event(self, stage: StageInfo, event: Any) -> None:
            self.heard.append(event)

    good = Good()
    observers = Observers([Bad(), good])
    stage = StageInfo(id="a", stage="a", key="k")
    for number in range(3):
        observers.stage_event(stage, {"event": "metric", "name": "x", "value": number, "step": 0})
    assert len(good.heard) == 3
    (warning,) = observers.warnings
    assert "Bad" in warning
    assert "disk full" in warning


def test_the_columns_are_the_results_and_stay_where_they_are() -> None:
    names = ["map/a.int8", "map50/a.int8", "latency/a.fp32.p50_ms", "latency/a.int8.p50_ms", "latency/a.speedup"]
    view = results_view({"selectedColumns": ["metrics.`latency/a.speedup`", "params.`seed`"]}, names)
    expected = ["latency/a.speedup", "seed", "map/a.int8", "latency/a.int8.p50_ms"]
    assert [column.split("`")[1] for column in view["selectedColumns"]] == expected
    assert view["columnOrder"] == list(view["columnWidths"])
    assert view["columnOrder"][-4:] == view["selectedColumns"]
    fp32_alone = results_view({}, ["latency/a.fp32.p50_ms"])
    assert fp32_alone["selectedColumns"] == ["metrics.`latency/a.fp32.p50_ms`"]


def test_the_description_begins_with_the_result() -> None:
    rows = [
        {"backend": "a", "precision": "fp32", "status": "ok", "latency": {"runtime": {"p50_ms": 28.147}}, "map": 61.26},
        {"backend": "a", "precision": "int8", "status": "failed", "latency": None, "map": None},
    ]
    assert result_table(rows).splitlines()[2:4] == [
        "| a INT8 (failed) | None | None | None |",
        "| a FP32 | 28.15 | None | 61.3 |",
    ]
    assert result_table([]) == ""


def test_the_description_begins_with_the_verdict_in_three_lines(tmp_path: Path) -> None:
    disturbed = "invalid: drift between rounds (30%)"
    told, _ = engines_report(FakeContext(tmp_path), everything(tmp_path, disturbed), gate=GATES)
    first, second, third = headline(told).removesuffix("\n\n").split("  \n")
    assert first == "**Use onnxruntime FP32, once a quiet timing confirms it.**"
    assert second == "Speed, Runtime 30.00 ms (timing disturbed); mAP 50.5; Engine 4.0 MB."
    assert third.replace("\\", "").startswith("Gates failed: max_engine_mb, ")
    assert third.endswith("4 of 4 timings disturbed.")
    assert headline({}) == "" and headline({**told, "rows": []}) == ""


def test_a_stage_that_is_at_work_gets_its_run_before_it_ends(
    store: TrackingOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "HELD_MS", 0)
    observer = MlflowObserver(store)
    observer.run_started(run_info(tmp_path, "quiet"))
    observer.stage_started(StageInfo(id="export.fp32", stage="export", key="k"))
    limit = time.monotonic() + 60
    while not parent_and_nested_or_none(store, "quiet") and time.monotonic() < limit:
        time.sleep(0.2)
    assert set(parent_and_nested(store, "quiet")[1]) == {"export.fp32"}
    observer.run_finished("FINISHED", {}, None)


def parent_and_nested_or_none(options: TrackingOptions, run_id: str) -> dict[str, Run]:
    try:
        return parent_and_nested(options, run_id)[1]
    except KeyError:
        return {}


def test_results_from_the_store_still_count_in_the_run(store: TrackingOptions, tmp_path: Path) -> None:
    observer = MlflowObserver(store)
    observer.run_started(run_info(tmp_path, "reused"))
    stage = StageInfo(id="accuracy.a.int8", stage="accuracy", key="k9", backend="a", precision="int8")
    observer.stage_started(stage)
    observer.stage_event(stage, {"event": "metric", "name": "map.a.int8", "value": 41.0, "step": None})
    observer.stage_finished(stage, image_list(tmp_path), True, 0.1)
    observer.run_finished("FINISHED", {}, None)
    parent, nested = parent_and_nested(store, "reused")
    assert nested == {} and parent.data.metrics == {"map/a.int8": 41.0}
    described = connect(store).get_experiment(parent.info.experiment_id).tags["mlflow.note.content"]
    assert described.startswith("Runs of detpress on one model")


def test_stages_of_a_backend_that_is_not_here_are_lines_of_the_table(store: TrackingOptions, tmp_path: Path) -> None:
    observer = MlflowObserver(store)
    observer.run_started(run_info(tmp_path, "absent"))
    stage = StageInfo(id="build.tensorrt.int8", stage="build", key="k7", backend="tensorrt", precision="int8")
    observer.stage_started(stage)
    observer.stage_failed(stage, UnavailableError("no GPU here\nat all"), 0.1)
    observer.run_finished("FINISHED", {}, None)
    parent, nested = parent_and_nested(store, "absent")
    assert nested == {} and parent.data.tags["unavailable"] == "1 of 1 stages"
    assert not_computed(store, parent)["data"] == [
        ["build.tensorrt.int8", "unavailable: no GPU here", "k7", None, None],
    ]  # fmt: skip


SHARED = "invalid: CPU shared with the load of other processes (77% of its time)"


def timed_rows() -> list[dict[str, Any]]:
    """FP32 and INT8, whose times are not valid; their ratio is, of Runtime."""
    latency = {"runtime": {"p50_ms": 10.0}, "end2end": {"p50_ms": 20.0}}
    row = {"backend": "a", "status": "ok", "latency": latency, "map": 50.0, "speedup": {"runtime": None}}
    times = {"runtime": SHARED, "end2end": SHARED}
    return [
        {**row, "precision": "fp32", "validity": {"runtime": "valid", "end2end": "valid"}},
        {**row, "precision": "int8", "validity": times, "speedup": {"runtime": 2.0},
         "speedup_validity": {"runtime": "valid", "end2end": SHARED}},
    ]  # fmt: skip


def test_the_description_marks_what_was_measured_while_disturbed() -> None:
    text = result_table(timed_rows())
    assert text.splitlines()[2:4] == ["| a INT8 | 10.00* | 2.00 | 50.0 |", "| a FP32 | 10.00 | None | 50.0 |"]
    assert "timing disturbed: the number cannot be relied on" in text


def test_runs_and_engines_say_which_metrics_were_disturbed(store: TrackingOptions, tmp_path: Path) -> None:
    observer = MlflowObserver(store)
    observer.run_started(run_info(tmp_path, "disturbed"))
    stage = StageInfo(id="latency.a", stage="latency", key="k", backend="a")
    result = LatencyResult(**files_in(tmp_path / "l", latency={}), backend="a", disturbed=[f"int8 runtime: {SHARED}"])
    observer.stage_started(stage)
    observer.stage_finished(stage, result, False, 2.0)
    observer.run_finished("FINISHED", {"rows": timed_rows()}, None)
    assert observer.warnings == []
    parent, nested = parent_and_nested(store, "disturbed")
    why = SHARED.removeprefix("invalid: ")
    metrics = ("int8.p50_ms", "int8.end2end.p50_ms", "int8.end2end.over_fp32")
    assert parent.data.tags["timing"] == nested["latency.a"].data.tags["timing"] == "disturbed"
    assert parent.data.tags["timing.disturbed"] == "; ".join(f"latency/a.{name}: {why}" for name in metrics)
    assert nested["latency.a"].data.tags["timing.disturbed"] == f"int8 runtime: {SHARED}"
    assert timing_tags(disturbed_metrics(timed_rows()[:1])) == {"timing": "valid"}


def test_an_engine_says_whether_its_timing_was_disturbed() -> None:
    told: dict[str, dict[str, str]] = {}
    client: Any = SimpleNamespace(set_logged_model_tags=told.__setitem__)
    engines = Engines(client)
    engines._ids = {("a", "fp32"): "m-1", ("a", "int8"): "m-2"}
    engines.tag_timings([*timed_rows(), {**timed_rows()[1], "precision": "int8_pm"}])
    assert told["m-1"] == {"timing": "valid"} and told["m-2"]["timing"] == "disturbed"
    assert "latency/a.int8.p50_ms" in told["m-2"]["timing.disturbed"]
    assert "latency/a.int8_pm.p50_ms" in told["m-2"]["timing.disturbed"]


@pytest.mark.parametrize(("value", "shown"), [(28.147239500000005, 28.1472), (8068689.0, 8068689.0), (3e-05, 3e-05)])
def test_metrics_are_readable(value: float, shown: float) -> None:
    assert readable(value) == shown


@pytest.mark.timing
def test_a_run_that_computed_nothing_is_sent_by_another_process(store: TrackingOptions, tmp_path: Path) -> None:
    images = image_list(tmp_path)
    collect = StageInfo(id="images.unlabeled", stage="collect_unlabeled", key="k1")
    observer = MlflowObserver(store, hand_over=True)
    observer.run_started(run_info(tmp_path, "repeat"))
    observer.stage_started(collect)
    observer.stage_finished(collect, images, True, 0.1)
    started = time.monotonic()
    observer.run_finished("FINISHED", {}, None)
    assert time.monotonic() - started < 1
    assert observer.warnings == []
    spool = tmp_path / "runs" / "repeat" / "tracking.jsonl"
    limit = time.monotonic() + 90
    while spool.exists() and time.monotonic() < limit:
        time.sleep(0.2)
    parent, nested = parent_and_nested(store, "repeat")
    assert parent.info.status == "FINISHED" and nested == {}
    assert parent.data.tags["from_store"] == "1 of 1 stages"


@pytest.mark.timing
def test_a_stopped_run_does_not_wait_for_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "KILLED_SECONDS", 1.0)
    options = TrackingOptions(uri=f"http://127.0.0.1:{closed_port()}", timeout=5)
    observer = MlflowObserver(options)
    observer.run_started(run_info(tmp_path, "stopped"))
    started = time.monotonic()
    observer.run_finished("KILLED", {}, None)
    assert time.monotonic() - started < 2
    assert (tmp_path / "runs" / "stopped" / "tracking.jsonl").stat().st_size > 0
    assert "the next run" in observer.warnings[0]


def test_an_interrupted_run_and_its_successor_name_each_other(store: TrackingOptions, tmp_path: Path) -> None:
    first, second = MlflowObserver(store), MlflowObserver(store)
    first.run_started(run_info(tmp_path, "interrupted"))
    first.run_finished("KILLED", {}, None)
    second.run_started(run_info(tmp_path, "successor", resumed_from="interrupted"))
    second.run_finished("FINISHED", {}, None)
    assert parent_and_nested(store, "interrupted")[0].data.tags["continued_by"] == "successor"
    assert parent_and_nested(store, "successor")[0].data.tags["resumed_from"] == "interrupted"


def test_a_metric_of_a_variant_is_about_the_model_of_its_engine() -> None:
    engines = Engines(None)  # type: ignore[arg-type]
    engines._ids["tensorrt", "int8_fp16"] = "m-1"
    for name in ("build.tensorrt.int8_fp16.seconds", "latency.tensorrt.int8_fp16_pm.end2end.p50_ms"):
        assert engines.measured(name) == "m-1"
    assert engines.measured("latency.tensorrt.int8.p50_ms") is None


def test_disturbed_throughput_is_told_by_its_metric() -> None:
    def load(verdict: str) -> dict[str, Any]:
        return {"validity": {"verdict": verdict}}

    engines = {"int8": {"tried": [], "offline": load("invalid: drift"), "multi_stream": load("valid"), "server": None}}
    contents = [{"backend": "openvino", "engines": engines}, {"backend": "tensorrt", "engines": {}}]
    assert disturbed_loads(contents) == ["throughput/openvino.int8.offline.images_per_s: drift"]


def test_a_run_leaves_its_points_for_the_pareto_page(store: TrackingOptions, tmp_path: Path) -> None:
    content = drawn_report("20260101-100000-x", "ppyoloe_s", "shapes", "", random.Random(0))
    observer = MlflowObserver(store)
    observer.run_started(run_info(tmp_path, "points"))
    observer.run_finished("FINISHED", content, None)
    assert observer.warnings == []
    of_run = [point for point in collect(store) if point["run"] == content["run_id"]]
    assert of_run == of_report(content) and len(of_run) == 4  # type: ignore[arg-type]


SHARES = {"convolutions": 0.75, "head": 0.25}


def test_profiles_are_metrics_of_the_run(store: TrackingOptions, tmp_path: Path) -> None:
    """From the report, so that profiles from the store, which tell nothing while the run is at work, are there too."""

    def engine(precision: str, of_peak: float | None, verdict: str = "valid") -> dict[str, Any]:
        groups = {group: {"ms": 10 * share, "share": share, "layers": 3} for group, share in SHARES.items()}
        convolutions = {"of_peak": of_peak}
        return {"backend": "openvino", "precision": precision, "groups": groups, "convolutions": convolutions,
                "verdict": verdict}  # fmt: skip

    profiled = [engine("int8", 0.71), engine("bf16", None, "invalid: CPU shared with others")]
    for number, summary in enumerate([{"profiles": {"engines": profiled, "without": []}}, {"profiles": None}, {}]):
        observer = MlflowObserver(store)
        observer.run_started(run_info(tmp_path, f"profiled-{number}"))
        observer.run_finished("FINISHED", summary, None)
        assert observer.warnings == []
    run, _ = parent_and_nested(store, "profiled-0")
    parts = [(precision, group, share) for precision in ("int8", "bf16") for group, share in SHARES.items()]
    shares = {f"profile/openvino.{precision}.share.{group}": share for precision, group, share in parts}
    assert run.data.metrics == {**shares, "profile/openvino.int8.of_peak": 0.71}
    assert run.data.tags["profile.disturbed"] == "profile/openvino.bf16: CPU shared with others"
    for number in (1, 2):
        run, _ = parent_and_nested(store, f"profiled-{number}")
        assert run.data.metrics == {} and "profile.disturbed" not in run.data.tags
