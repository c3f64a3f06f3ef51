"""``detpress pareto --uri``: what runs recorded in MLflow, as the points that their folders give."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.config.options.tracking import TrackingOptions
from pipelines.system.database import sqlite_url
from pipelines.tracking import measured
from pipelines.tracking.client import connect
from pipelines.tracking.measured import Recorded, points_of, points_tag
from stages.errors import InputError
from stages.report.pareto import of_report
from tests.conftest import ROOT
from tests.pipelines.drawn_runs import DISTURBED, MODELS, report

MANY = 1000

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def _env_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "CI"):
        monkeypatch.setenv(name, "1")


def content(number: int, model: str = "ppyoloe_s") -> dict[str, Any]:
    return report(f"20260101-{100000 + number:06d}-{model}-{number:04x}", model, "shapes", "", random.Random(number))


def recorded(report: dict[str, Any], *, tagged: bool = True) -> Recorded:
    """What a run leaves in MLflow; an earlier version left no tag for the page."""
    tags = {"node": "pipeline", **{name: str(report[name]) for name in ("run_id", "model", "data", "hardware")}}
    metrics, disturbed = {}, []
    for row in report["rows"]:
        engine = f"{row['backend']}.{row['precision']}"
        metrics |= {f"map/{engine}": row["map"], f"latency/{engine}.p50_ms": row["latency"]["runtime"]["median_ms"]}
        if change := row["difference"].get("map"):
            metrics |= {f"map_difference/{engine}{part}": change[name]
                        for part, name in (("", "value"), (".low", "low"), (".high", "high"))}  # fmt: skip
        if row["validity"]["runtime"] != "valid":
            disturbed.append(f"latency/{engine}.p50_ms: {row['validity']['runtime'].removeprefix('invalid: ')}")
            disturbed.append(f"latency/{engine}.over_fp32: {row['validity']['runtime'].removeprefix('invalid: ')}")
    if disturbed:
        tags["timing.disturbed"] = "; ".join(disturbed)
    params = {"backend.onnxruntime.threads": "2", "backend.openvino.threads": "2", "export.batch": "1"}
    return Recorded(1, tags | (points_tag(report) if tagged else {}), metrics, params)


def store(folder: Path, runs: list[Recorded]) -> Path:
    """A store of MLflow's own making with these runs, and beside each a stage's, which is none of the page's."""
    options = TrackingOptions(folder=str(folder))
    client = connect(options)
    experiment = client.create_experiment("ppyoloe_s on shapes")
    path = folder / "mlflow.db"
    with closing(sqlite3.connect(path)) as database, database:
        for number, run in enumerate(runs):
            own = client.create_run(experiment).info.run_id if len(runs) < 10 else f"{number:032x}"
            if len(runs) >= 10:
                database.execute(
                    "INSERT INTO runs (run_uuid, name, status, start_time, lifecycle_stage, experiment_id) "
                    "VALUES (?, 'r', 'FINISHED', ?, 'active', ?)", (own, number, experiment),
                )  # fmt: skip
            database.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
                                 [(k, v, own) for k, v in run.tags.items()])  # fmt: skip
            database.executemany("INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
                                 [(k, v, own) for k, v in run.params.items()])  # fmt: skip
            database.executemany(
                "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, 0, 0, 0, ?)",
                [(k, v, own) for k, v in run.metrics.items()],
            )
            database.commit()
    return path


def test_the_tag_has_the_points_of_the_report() -> None:
    for number in range(5):
        made = content(number)
        points = of_report(made)  # type: ignore[arg-type]
        assert len(points) == 4 and points_of(recorded(made)) == points


def test_a_long_list_takes_several_tags_and_a_damaged_one_is_no_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "_ROOM", 200)
    run = recorded(content(0))
    assert len([name for name in run.tags if name.startswith("pareto")]) > 3
    assert points_of(run) == of_report(content(0))  # type: ignore[arg-type]
    for damage in ("{", "[1]", '[{"run": "x"}]', "[" * 5000):
        assert points_of(Recorded(1, run.tags | {"pareto": damage})) == []
    assert points_tag({"error": "it broke"}) == {} and points_tag({**content(0), "rows": []}) == {}


def test_a_run_without_the_tag_is_read_from_its_metrics() -> None:
    made = content(3)
    made["rows"][1]["validity"]["runtime"] = DISTURBED
    for expected, found in zip(of_report(made), points_of(recorded(made, tagged=False)), strict=True):  # type: ignore[arg-type]
        told = {k: v for k, v in found.items() if k not in ("group", "ms_bounds", "wrong")}
        assert told == {k: v for k, v in expected.items() if k in told} and found["ms_bounds"] is None
        assert found["wrong"] == expected["wrong"].removeprefix("invalid: ")
        assert found["group"] == expected["group"].replace(", 60 images", "")
    dotted = {name.replace("/", "."): value for name, value in recorded(made).metrics.items()}
    assert len(points_of(Recorded(1, {"run_id": "x"}, dotted))) == 4  # an earlier version's
    assert (
        points_of(Recorded(1, {}, {"map/onnxruntime.int8": 1.0, "map/x": 1.0, "latency/onnxruntime.int8.p50_ms": 0.0}))
        == []
    )


@pytest.mark.slow
def test_a_real_store_gives_what_its_runs_recorded_and_the_filters_choose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [content(0), content(1, "ppyoloe_m"), content(2, "ppyoloe_tiny")]
    path = store(tmp_path, [recorded(run, tagged=run is not runs[2]) for run in runs])
    uri = sqlite_url(path)
    out = str(tmp_path / "page.html")

    def shown(*words: str) -> list[dict[str, Any]]:
        assert main(["pareto", "--uri", uri, "--json", *words]) == 0
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["points"]
        return found

    assert {point["run"] for point in shown()} == {run["run_id"] for run in runs} and len(shown()) == 12
    assert {point["model"] for point in shown("--model", "ppyoloe_m")} == {"ppyoloe_m"}
    assert {point["backend"] for point in shown("--backend", "openvino", "--data", "shapes")} == {"openvino"}
    assert main(["pareto", "--uri", uri, "--out", out]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == out and runs[1]["run_id"] in Path(out).read_text()
    assert main(["pareto", "--uri", uri, "--model", "yolo"]) == 2
    assert "there are model: ppyoloe_m, ppyoloe_s, ppyoloe_tiny" in " ".join(capsys.readouterr().err.split())
    # What MLflow's own client says of the same store is the same.
    client = {
        json.dumps(p, sort_keys=True) for run in measured._of_server(TrackingOptions(uri=uri)) for p in points_of(run)
    }
    assert client == {json.dumps(p, sort_keys=True) for p in measured.collect(TrackingOptions(uri=uri))}


LOADED = """
import sys
from pipelines.cli import main
assert main(["pareto", "--uri", sys.argv[1], "--out", sys.argv[2]]) == 0
print(sorted({"mlflow", "sqlalchemy", "matplotlib", "numpy"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_a_thousand_runs_of_a_database_are_read_without_mlflow(tmp_path: Path) -> None:
    path = store(tmp_path, [recorded(content(i, MODELS[i % 3])) for i in range(MANY)])
    words = [sys.executable, "-c", LOADED, sqlite_url(path), str(tmp_path / "page.html")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert f"{4 * MANY} engines of {MANY} runs" in (tmp_path / "page.html").read_text()


def test_what_is_no_store_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="there is no MLflow store"):
        measured.collect(TrackingOptions(uri=sqlite_url(tmp_path / "none.db")))
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at as one")
    for name in ("none.db", "text.db", "."):
        assert main(["pareto", "--uri", f"sqlite:///{tmp_path / name}"]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("CREATE TABLE people (name)")
    assert main(["pareto", "--uri", f"sqlite:///{tmp_path / 'other.db'}"]) == 2
    assert "cannot be read as a store of MLflow" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "none.db").exists()


@pytest.mark.slow
def test_a_server_that_cannot_be_reached_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    secret = "hunter" + "2"  # which a traceback that shows this line would not spell
    assert main(["pareto", "--uri", f"http://user:{secret}@127.0.0.1:9"]) == 4
    told = " ".join(capsys.readouterr().err.split())
    assert "cannot be read" in told and "check --uri" in told and secret not in told
