"""Retraining from the first champion to a rollback: real stages, engines and MLflow; only the model is small."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import retrain
from pipelines.commands import champion as champion_command
from pipelines.commands import promote, rollback, trend
from pipelines.registry.champion import fetch_champion
from pipelines.registry.register import registry_of
from pipelines.retraining import challenge, snapshot
from pipelines.runs import history
from pipelines.tracking.client import connect
from stages.artifacts import sha256_of
from stages.bundle.contents import write_sums
from tests.pipelines import small

pytestmark = [
    pytest.mark.slow,
    # MLflow's own tables, under the SQLAlchemy that its pins allow.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, labels and a checkpoint. The tests below tell one story, in their order."""
    folder = tmp_path_factory.mktemp("retrain")
    small.draw(folder, "train", 24, seed=1)
    small.draw(folder, "val", 12, seed=2)
    small.weights(folder, 0.0, "first")
    return folder


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (challenge, snapshot):
        monkeypatch.setattr(module, "compress_graph", small.small_graph)
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(name, "1")
    yield


def again(root: Path, **options: Any) -> dict[str, Any]:
    """One retraining; what ``last.json`` says of it."""
    config = small.small_config(root)
    for name, value in options.items():
        setattr(config.retrain, name, value)
    code, last = retrain.run_retrain(config, command=["detpress", "retrain"])
    told: dict[str, Any] = json.loads(last.read_text())
    assert told["exit_code"] == code
    assert json.loads((last.parent / "history.jsonl").read_text().splitlines()[-1]) == told
    return told


def test_the_first_one_becomes_the_champion(root: Path) -> None:
    told = again(root)
    assert (told["outcome"], told["exit_code"], told["version"], told["champion"]) == ("promoted", 0, "1", "1"), told
    registry = registry_of(small.small_config(root))
    champion = registry.champion()
    assert champion is not None and champion.run_id == told["run_id"] and registry.challenger() is None
    model = connect(small.small_config(root).tracking).get_logged_model(champion.tags["model_id"])
    numbers = {metric.key: metric.value for metric in model.metrics}
    assert numbers["map/onnxruntime.fp32"] == pytest.approx(100.0)
    assert "latency/onnxruntime.fp32.p50_ms" in numbers
    files = {f.path for f in registry.client.list_logged_model_artifacts(model.model_id)}
    assert files == {
        "README.md",
        "bom.cdx.json",
        "bundle.zip",
        "checkpoint.pdparams",
        "images.npz",
        "promotion.json",
        "promotion.md",
    }


def test_nothing_changed_is_seen_without_a_run(root: Path) -> None:
    before = len(history.folders(root / "artifacts"))
    for path in (root / "train").iterdir():
        path.touch()  # the bytes decide
    told = again(root)
    assert (told["outcome"], told["exit_code"], told["run_id"]) == ("unchanged", 5, None)
    assert told["reason"].startswith("no change since")
    assert len(history.folders(root / "artifacts")) == before


def test_a_worse_challenger_is_refused_with_the_failing_gate_named(root: Path) -> None:
    small.weights(root, 3.0, "worse")
    told = again(root)
    assert (told["outcome"], told["exit_code"]) == ("kept", 3)
    assert told["changes"] == ["the checkpoint is another"]
    assert told["failed_gates"] == ["champion.max_map_drop"] and "champion.max_map_drop is" in told["reason"]
    assert (told["version"], told["champion"]) == ("2", "1")
    registry = registry_of(small.small_config(root))
    champion, challenger = registry.champion(), registry.challenger()
    assert champion is not None and challenger is not None
    assert (champion.number, challenger.number) == ("1", "2")
    assert challenger.tags["gates"] == "failed: champion.max_map_drop"
    evidence = registry.fetch(challenger, "promotion.json", root / "fetched")
    assert evidence is not None
    content = json.loads(evidence.read_text())
    assert content["champion"]["version"] == "1" and not content["passed"]
    assert content["engines"]["champion"]["map"] == pytest.approx(100.0)
    assert content["beside"]["map"]["high"] < -2
    (run,) = connect(small.small_config(root).tracking).search_runs(
        [e.experiment_id for e in registry.client.search_experiments()],
        f"tags.run_id = '{told['run_id']}' and tags.node = 'pipeline'",
    )
    assert "A gate does not hold: champion.max_map_drop" in run.data.tags["mlflow.note.content"]
    assert run.data.metrics["promotion/passed"] == 0.0 and run.data.metrics["champion/map_difference.high"] < -2
    shown = {file.path for file in registry.client.list_artifacts(run.info.run_id)}
    assert {"promotion.json", "promotion.md", "report.html", "report-trend.html", "report-trend.png"} <= shown
    assert again(root)["outcome"] == "unchanged"  # the same is not tried twice


def test_suspicious_data_is_refused_before_anything_is_computed(root: Path) -> None:
    small.weights(root, 0.0, "second")
    labels = root / "val.json"
    good = labels.read_text()
    labels.write_text(good.replace('"block"', '"brick"'))
    store = sorted((root / "artifacts" / "store").glob("*/*"))
    config = small.small_config(root)
    config.model.labels = None
    code, last = retrain.run_retrain(config, command=["detpress", "retrain"])
    told = json.loads(last.read_text())
    assert (code, told["outcome"]) == (2, "refused")
    assert "the classes brick, where were accepted last" in told["reason"]
    labels.write_text(good)
    for number in range(5):
        (root / "train" / f"broken-{number}.png").write_bytes(b"not an image")
    told = again(root)
    assert (told["outcome"], told["champion"]) == ("refused", "1")
    assert "5 of 5 new images cannot be read" in told["reason"]
    assert sorted((root / "artifacts" / "store").glob("*/*")) == store
    for number in range(5):
        (root / "train" / f"broken-{number}.png").unlink()


def test_one_as_good_is_promoted_and_drift_is_warned_of(root: Path) -> None:
    small.draw(root, "train", 24, seed=3, bright=0.5)
    told = again(root, promote=False)
    assert (told["outcome"], told["exit_code"], told["champion"]) == ("kept", 0, "1")
    assert told["drift"] and "brightness" in told["drift"]
    registry = registry_of(small.small_config(root))
    assert promote.main(["v3", "--artifacts", str(root / "artifacts"), "--force"]) == 0
    champion = registry.champion()
    assert champion is not None and champion.number == told["version"] == "3"


def test_training_goes_on_from_the_champions_checkpoint(root: Path) -> None:
    small.weights(root, 9.0, "of the config")
    config = small.small_config(root)
    assert challenge.start_from(config, registry_of(config), None, root / "artifacts") is config
    config.retrain.finetune = True
    registry = registry_of(config)
    started = challenge.start_from(config, registry, registry.champion(), root / "artifacts")
    assert started.finetune.enabled and started.model.weights is not None
    assert Path(started.model.weights).read_text() == "0.0 second"
    small.weights(root, 0.0, "second")
    first = challenge.start_from(config, registry, None, root / "artifacts")
    assert first.finetune.enabled and first.model.weights == config.model.weights


def test_the_trend_shows_runs_and_champions(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trend.main(["--artifacts", str(root / "artifacts"), "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert [point["champion"] for point in points] == [True, False, False]
    assert [round(point["map"]["value"]) for point in points][::2] == [100, 100]
    worse = points[1]["map"]
    assert worse["low"] <= worse["value"] <= worse["high"] and worse["high"] < 98
    assert all(point["runtime"]["low"] < point["runtime"]["value"] < point["runtime"]["high"] for point in points)
    run = root / "artifacts" / "runs" / points[-1]["run_id"]
    page = (run / "report-trend.html").read_text()
    assert "<svg" in page and points[0]["run_id"] in page and (run / "report-trend.png").stat().st_size > 0


def test_rollback_goes_back_and_the_history_stays(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--artifacts", str(root / "artifacts")]
    assert rollback.main(where) == 0
    registry = registry_of(small.small_config(root))
    champion = registry.champion()
    assert champion is not None and champion.number == "1"
    assert [(m.action, m.before, m.after, m.forced) for m in registry.moves()] == [
        ("promote", None, "1", False),
        ("promote", "1", "3", True),
        ("rollback", "3", "1", False),
    ]
    capsys.readouterr()
    assert champion_command.main([*where, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["champion"]["number"] == "1" and len(told["versions"]) == 3


def test_promote_measures_again_and_judges(root: Path) -> None:
    artifacts = root / "artifacts"
    run = registry_of(small.small_config(root)).version("3").run_id
    assert promote.main([run, "--artifacts", str(artifacts)]) == 0
    worse = registry_of(small.small_config(root)).version("2").run_id
    assert promote.main([worse, "--artifacts", str(artifacts)]) == 3
    assert promote.main([worse, "gate.champion.max_map_drop=100", "--artifacts", str(artifacts)]) == 0
    champion = registry_of(small.small_config(root)).champion()
    assert champion is not None and champion.number == "2"


def test_a_champion_that_is_damaged_is_named_before_anything_is_computed(root: Path) -> None:
    registry = registry_of(small.small_config(root))
    champion = registry.champion()
    assert champion is not None
    folder = fetch_champion(registry, champion, root / "artifacts").bundle.root / "engine"
    (folder / "model.onnx").write_bytes(b"damaged")
    record = folder.parent / "bundle.json"
    content = json.loads(record.read_text())
    content["engine"]["files"]["model.onnx"] = sha256_of(folder / "model.onnx")
    record.write_text(json.dumps(content))
    write_sums(folder.parent)
    small.weights(root, 0.0, "beside a damaged one")
    runs = len(history.folders(root / "artifacts"))
    told = again(root)
    assert (told["outcome"], told["exit_code"], told["champion"]) == ("refused", 2, champion.number)
    assert (
        told["reason"].startswith("the champion, ")
        and f"version {champion.number}, cannot be measured: " in told["reason"]
    )
    assert "model.onnx cannot be opened (" in told["reason"] and "`detpress rollback`" in told["reason"]
    assert len(history.folders(root / "artifacts")) == runs
