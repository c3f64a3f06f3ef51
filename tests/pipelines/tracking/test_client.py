"""MLflow's local database is whole or absent, whenever its making is killed."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from pipelines.config.options.tracking import TrackingOptions
from pipelines.tracking.client import artifact_location, connect, half_database, store_uri
from tests.conftest import ROOT

# MLflow's own tables, under the SQLAlchemy that its pins allow.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

KILLS = 10
KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from pipelines.config.options.tracking import TrackingOptions
from pipelines.tracking.client import connect

def make(folder):
    child = os.fork()
    if child == 0:
        connect(TrackingOptions(folder=str(folder)))
        os._exit(0)
    return child

root, kills = Path(sys.argv[1]), int(sys.argv[2])
started = time.monotonic()
os.waitpid(make(root / "whole"), 0)
limit, chance = time.monotonic() - started, random.Random(0)
for number in range(kills):
    child = make(root / str(number))
    time.sleep(limit * (number + chance.random()) / kills)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.fixture(autouse=True)
def _env_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "CI"):
        monkeypatch.setenv(name, "1")


def experiments(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM experiments")]


@pytest.mark.slow
def test_a_database_whose_making_is_killed_is_whole_or_absent(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(KILLS)], cwd=ROOT, check=False)
    assert done.returncode == 0
    absent = 0
    for number in range(KILLS):
        path = tmp_path / str(number) / "mlflow.db"
        absent += not path.exists()
        assert not path.exists() or experiments(path) == ["Default"]
    assert absent >= 3  # the kills met the making; how many of them do hangs on the load of the machine
    tried = random.Random(1).choice([n for n in range(KILLS) if (tmp_path / str(n) / ".mlflow.db.new").exists()])
    options = TrackingOptions(folder=str(tmp_path / str(tried)))
    (default,) = connect(options).search_experiments()
    assert default.artifact_location == f"{artifact_location(options)}/0"
    assert sorted(p.name for p in Path(options.folder).iterdir()) == [".mlflow.db.lock", "mlflow.db"]


@pytest.mark.slow
def test_a_half_database_of_before_is_kept_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mlflow.store.tracking.dbmodels.initial_models import Base

    options = TrackingOptions(folder=str(tmp_path))
    engine = create_engine(store_uri(options))
    Base.metadata.create_all(engine)  # where MLflow begins; its many changes to these tables come afterwards
    engine.dispose()
    text = half_database(options)
    assert text is not None and "half made" in text
    assert half_database(options) is None
    connect(options)
    assert experiments(tmp_path / "mlflow.db") == ["Default"]
    assert len(list(tmp_path.glob("mlflow.db.incomplete-*"))) == 1
    assert half_database(options) is None
    assert capsys.readouterr().err == ""


def test_somebody_elses_database_is_not_moved(tmp_path: Path) -> None:
    file = tmp_path / "mine.db"
    for tables in (["people"], ["experiments"], ["people", "alembic_version"]):
        file.unlink(missing_ok=True)
        with closing(sqlite3.connect(file)) as connection:
            for name in tables:
                connection.execute(f"CREATE TABLE {name} (name)")
        assert half_database(TrackingOptions(uri=f"sqlite:///{file}")) is None
    assert half_database(TrackingOptions(uri="http://127.0.0.1:9")) is None
    assert half_database(TrackingOptions(folder=str(tmp_path / "none"))) is None
    assert not (tmp_path / "none").exists()
