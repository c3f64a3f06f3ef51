"""The registry on a real SQLite store: aliases move in one step, and the history says what happened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.config.options.tracking import TrackingOptions
from pipelines.registry.registry import CHAMPION, Registry
from pipelines.tracking.client import connect
from stages.errors import InputError, StoreError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> TrackingOptions:
    return TrackingOptions(folder=str(tmp_path_factory.mktemp("mlflow")))


@pytest.fixture
def registry(tracking: TrackingOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Three versions of a model of this test's own."""
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(name, "1")
    made = Registry(tracking, f"model-{tmp_path.name}", tmp_path / "lock")
    client = connect(tracking)
    found = client.get_experiment_by_name("e")
    experiment = found.experiment_id if found else client.create_experiment("e", (tmp_path / "files").as_uri())
    file = tmp_path / "bundle.zip"
    for number in (1, 2, 3):
        run_id = f"{tmp_path.name}-{number}"
        run = client.create_run(experiment, tags={"run_id": run_id, "node": "pipeline"})
        client.create_logged_model(
            experiment, name="e", source_run_id=run.info.run_id, tags={"run_id": run_id, "node": "build.x.int8"}
        )
        file.write_text(str(number))
        version = made.add(run_id, "build.x.int8", [file], {"gates": "passed"}, "evidence")
        assert version.number == str(number)
    return made


def test_promotions_and_rollbacks_are_kept(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no champion"):
        registry.rollback()
    one, two, three = (registry.version(n) for n in "123")
    registry.promote(one, over=None)
    with pytest.raises(InputError, match="no champion before version 1"):
        registry.rollback()
    registry.promote(two, over="1")
    registry.promote(three, over="2")
    assert registry.challenger() is None
    assert registry.rollback().after == "2"
    assert registry.rollback().after == "1"
    registry.promote(three, over="1")
    champion = registry.champion()
    assert champion is not None and champion.number == "3"
    assert registry.rollback().after == "1"
    told = [(m.action, m.before, m.after) for m in registry.moves()]
    assert told[-2:] == [("promote", "1", "3"), ("rollback", "3", "1")] and len(told) == 7
    got = registry.fetch(two, "bundle.zip", tmp_path / "got")
    assert got is not None and got.read_text() == "2"
    assert registry.fetch(two, "nothing", tmp_path / "got") is None
    assert len(registry.versions()) == 3
    assert registry.add(one.run_id, "build.x.int8", [], {}, "again").number == "1"


def test_of_two_promotions_against_one_champion_the_second_is_refused(registry: Registry) -> None:
    registry.promote(registry.version("1"), over=None)
    registry.promote(registry.version("2"), over="1")
    with pytest.raises(StoreError, match="the champion is version 2 by now, not 1"):
        registry.promote(registry.version("3"), over="1")
    champion = registry.champion()
    assert champion is not None and champion.number == "2"


def test_a_move_that_was_noted_and_never_made_counts_for_nothing(registry: Registry) -> None:
    registry.promote(registry.version("1"), over=None)
    registry.promote(registry.version("2"), over="1")
    noted = {"action": "promote", "before": "2", "after": "3", "at": "then", "forced": False}
    registry.client.set_registered_model_tag(registry.name, "history.0003", json.dumps(noted))  # killed here
    assert [m.after for m in registry.moves()] == ["1", "2"]
    assert registry.rollback().after == "1"


def test_an_alias_moved_by_hand_is_believed(registry: Registry) -> None:
    registry.promote(registry.version("1"), over=None)
    registry.client.set_registered_model_alias(registry.name, CHAMPION, "3")
    champion = registry.champion()
    assert champion is not None and champion.number == "3"
    assert registry.moves() == []
    with pytest.raises(InputError, match="no champion before version 3"):
        registry.rollback()


def test_what_is_missing_is_named(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no version 9"):
        registry.version("9")
    with pytest.raises(StoreError, match="does not have the engine of run elsewhere"):
        registry.add("elsewhere", "build.x.int8", [], {})
    nothing = Registry(TrackingOptions(uri="http://127.0.0.1:9"), "m", tmp_path / "lock")
    with pytest.raises(StoreError, match="cannot be used"):
        nothing.champion()
