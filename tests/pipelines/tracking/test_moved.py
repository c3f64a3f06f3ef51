"""A local store that was moved still finds its files; nothing else of it changes."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.config.options.tracking import TrackingOptions
from pipelines.tracking.client import connect
from pipelines.tracking.moved import follow

ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.slow,
    # MLflow's own tables, under the SQLAlchemy that its pins allow.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
]


def written(folder: Path) -> tuple[str, str]:
    """A store with a run and a logged model that have a file each; their ids."""
    client = connect(TrackingOptions(folder=str(folder)))
    experiment = client.create_experiment("e", (folder / "artifacts").as_uri())
    run = client.create_run(experiment).info.run_id
    client.log_text(run, "hello", "a.txt")
    model = client.create_logged_model(experiment, name="m", source_run_id=run).model_id
    (folder.parent / "b.txt").write_text("model")
    client.log_model_artifact(model, str(folder.parent / "b.txt"))
    return run, model


def test_files_are_found_where_the_folder_lies_now(tmp_path: Path) -> None:
    code = f"from {__name__} import *; print(*written(Path({str(tmp_path / 'before 1' / 'mlflow')!r})))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    run, model = said.stdout.split()[-2:]  # by another process: MLflow's client remembers places
    (tmp_path / "after").mkdir()
    shutil.move(tmp_path / "before 1" / "mlflow", tmp_path / "after" / "mlflow")
    client = connect(TrackingOptions(folder=str(tmp_path / "after" / "mlflow")))
    assert Path(client.download_artifacts(run, "a.txt")).read_text() == "hello"
    assert [info.path for info in client.list_logged_model_artifacts(model)] == ["b.txt"]
    client.log_text(run, "again", "c.txt")  # and new ones go there
    assert list((tmp_path / "after" / "mlflow").rglob("c.txt")) and not (tmp_path / "before 1" / "mlflow").exists()
    other = client.create_run(client.get_experiment_by_name("e").experiment_id)
    assert other.info.artifact_uri.startswith((tmp_path / "after" / "mlflow" / "artifacts").as_uri())


def test_a_copy_and_a_store_elsewhere_stay_as_they_are(tmp_path: Path) -> None:
    written(tmp_path / "mlflow")
    shutil.copytree(tmp_path / "mlflow", tmp_path / "copy")
    assert follow(tmp_path / "copy" / "mlflow.db", TrackingOptions(folder=str(tmp_path / "copy"))) == 0
    with sqlite3.connect(tmp_path / "copy" / "mlflow.db") as connection:
        connection.execute("UPDATE experiments SET artifact_location = 's3://bucket/0' WHERE experiment_id = 0")
    shutil.rmtree(tmp_path / "mlflow")
    assert follow(tmp_path / "copy" / "mlflow.db", TrackingOptions(folder=str(tmp_path / "copy"))) == 0


def test_a_place_with_the_same_beginning_is_another_place(tmp_path: Path) -> None:
    written(tmp_path / "mlflow")
    beside = (tmp_path / "mlflow" / "artifacts").as_uri() + "-old/1"
    with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as connection:
        connection.execute("UPDATE runs SET artifact_uri = ?", (beside,))
    shutil.move(tmp_path / "mlflow", tmp_path / "new")
    assert follow(tmp_path / "new" / "mlflow.db", TrackingOptions(folder=str(tmp_path / "new"))) > 0
    with sqlite3.connect(tmp_path / "new" / "mlflow.db") as connection:
        assert connection.execute("SELECT artifact_uri FROM runs").fetchone() == (beside,)


def test_a_database_without_tables_is_left_alone(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "mlflow.db").close()
    assert follow(tmp_path / "mlflow.db", TrackingOptions(folder=str(tmp_path))) == 0
