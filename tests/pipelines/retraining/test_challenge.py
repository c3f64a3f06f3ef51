"""A challenger that is timed while other processes disturb it: never promoted on that, but once it is quiet."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import retrain
from pipelines.commands import promote
from pipelines.execution.node import Node
from pipelines.registry.register import registry_of
from pipelines.retraining import challenge, snapshot
from pipelines.retraining.head_to_head import duel_nodes
from tests.pipelines import small
from tests.pipelines.planted_load import LOUD

pytestmark = [
    pytest.mark.slow,
    # MLflow's own tables, under the SQLAlchemy that its pins allow.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
]
WHY = "invalid: other processes held up one engine more than the other (0.67 by the clock, 1.00 by processor time)"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, labels and a checkpoint. The tests below tell one story, in their order."""
    folder = tmp_path_factory.mktemp("challenge")
    small.draw(folder, "train", 8, seed=1)
    small.draw(folder, "val", 4, seed=2)
    small.weights(folder, 0.0, "first")
    return folder


@pytest.fixture(autouse=True)
def loud(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that stands for the load; the judgement is timed on the machine that it is planted on."""

    def planted(*arguments: Any, **more: Any) -> list[Node]:
        nodes = duel_nodes(*arguments, **more)
        stage = "tests.pipelines.planted_load:PlantedLatency"
        return [dataclasses.replace(n, stage=stage) if n.stage == "latency" else n for n in nodes]

    for module in (challenge, snapshot):
        monkeypatch.setattr(module, "compress_graph", small.small_graph)
    monkeypatch.setattr(challenge, "duel_nodes", planted)
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(name, "1")
    file = root / "loud"
    monkeypatch.setenv(LOUD, str(file))
    yield file
    file.unlink(missing_ok=True)


def tick(root: Path, **gate: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """One retraining: what the history says of it, and its evidence."""
    config = small.small_config(root)
    config.latency.runs, config.latency.rounds = 60, 6
    config.latency.retries, config.latency.retry_wait = 1, 0.0
    config.run.locks = str(root / "locks")  # what the host measures beside has no part in this
    config.gate.champion.min_speedup = gate.pop("min_speedup", 0.9)
    for name, value in gate.items():
        setattr(config.gate, name, value)
    code, last = retrain.run_retrain(config, command=["detpress", "retrain"])
    told: dict[str, Any] = json.loads((last.parent / "history.jsonl").read_text().splitlines()[-1])
    assert told["exit_code"] == code
    evidence = root / "artifacts" / "runs" / str(told["run_id"]) / "promotion.json"
    return told, json.loads(evidence.read_text()) if evidence.is_file() else {}


def champion(root: Path) -> str:
    found = registry_of(small.small_config(root)).champion()
    assert found is not None
    return found.number


def test_a_load_promotes_nothing_and_the_history_says_why(root: Path, loud: Path) -> None:
    assert tick(root)[0]["outcome"] == "promoted" and tick(root)[0]["outcome"] == "unchanged"
    small.weights(root, 0.0, "second")
    loud.touch()
    told, evidence = tick(root)
    assert (told["outcome"], told["exit_code"], told["champion"]) == ("kept", 3, "1")
    assert told["not_judged"] == ["champion.min_speedup"] and told["failed_gates"] == []
    assert "A gate could not be judged: champion.min_speedup is 0.667, at least 0.9" in told["reason"]
    assert WHY in told["reason"] and "`detpress promote v2` measures again" in told["reason"]
    assert evidence["measured"] == 2 and evidence["beside"]["runtime"]["verdict"] == WHY
    text = (root / "artifacts" / "runs" / told["run_id"] / "promotion.md").read_text()
    assert "The engines were timed 2 times: the timings before were disturbed." in text
    challenger = registry_of(small.small_config(root)).challenger()
    assert challenger is not None and challenger.tags["gates"] == "not judged: champion.min_speedup"
    assert champion(root) == "1"


def test_a_quiet_tick_promotes_although_nothing_changed_since(root: Path) -> None:
    told, evidence = tick(root)
    assert (told["outcome"], told["changes"]) == ("promoted", ["the checkpoint is another"])
    assert "measured" not in evidence and evidence["beside"]["runtime"]["verdict"] == "valid"
    assert champion(root) == told["version"]
    assert tick(root)[0]["outcome"] == "unchanged"


def test_it_is_measured_again_once_the_machine_is_quieter(
    root: Path, loud: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[float, float]] = []

    def quieter(limit: float, patience: float) -> float:
        asked.append((limit, patience))
        loud.unlink()
        return 0.0

    monkeypatch.setattr(challenge, "wait_until_quiet", quieter)
    small.weights(root, 0.0, "third")
    loud.touch()
    told, evidence = tick(root)
    assert told["outcome"] == "promoted" and evidence["measured"] == 2 and asked == [(0.05, 0.0)]
    assert "It is measured again (tries left: 1) once other processes take at most 5%" in capsys.readouterr().err


def test_disturbed_timings_are_accepted_if_that_is_asked_for_and_it_is_written_down(root: Path, loud: Path) -> None:
    small.weights(root, 0.0, "fourth")
    loud.touch()
    told, evidence = tick(root, accept_disturbed=True, min_speedup=0.5)
    assert told["outcome"] == "promoted" and evidence["accepted_disturbed"] == ["champion.min_speedup"]
    assert "Judged by a disturbed timing, as gate.accept_disturbed=true asks: champion.min_speedup." in told["reason"]


def test_promote_by_hand_is_judged_alike(root: Path, loud: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = champion(root)
    where = ["gate.champion.min_speedup=0.9", "latency.retries=0", "--artifacts", str(root / "artifacts")]
    loud.touch()
    assert promote.main(["v2", *where]) == 3 and champion(root) == before
    said = capsys.readouterr().err
    assert "A gate could not be judged" in said and "when the machine is quieter, `detpress promote v2`" in said
    loud.unlink()
    assert promote.main(["v2", *where]) == 0 and champion(root) == "2"
