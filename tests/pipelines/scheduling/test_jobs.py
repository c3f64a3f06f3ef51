"""The store keeps schedules as they are, runs nothing it reads, and loses no overdue tick; the command line on top."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pickle
import signal
import sqlite3
import stat
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

from pipelines.cli import main
from pipelines.commands.schedule import put
from pipelines.config.options.schedule import states_a_secret
from pipelines.scheduling import records
from pipelines.scheduling.jobs import JobStore, Spec
from stages.errors import InputError, StoreError
from tests.pipelines.scheduling.helpers import STUB, plan, spec_for, store_of

NOW = datetime.now(timezone.utc)
LONG_AGO = NOW - timedelta(days=2)


def stored(store: JobStore, name: str = "retrain") -> Any:
    job = store.lookup_job(name)
    assert job is not None
    return job


def overdue(artifacts: Path, **options: Any) -> tuple[JobStore, Spec]:
    """A store whose schedule had its tick two days ago."""
    store, spec = store_of(artifacts), spec_for(artifacts, **options)
    put(store, artifacts, spec)
    store.update_job(store.job(spec, LONG_AGO))
    return store, spec


def test_a_schedule_comes_back_as_it_was(tmp_path: Path) -> None:
    store, spec = store_of(tmp_path), spec_for(tmp_path, cron="0 3 * * 1", interval=None, timezone="Asia/Tokyo")
    assert put(store, tmp_path, spec).startswith("added, next tick ")
    job = stored(store_of(tmp_path))
    assert job.kwargs["spec"] == spec
    assert job.next_run_time == job.trigger.get_next_fire_time(None, datetime.now(timezone.utc))
    assert put(store, tmp_path, spec_for(tmp_path, cron="0 3 * * 1", interval=None, timezone="Asia/Tokyo")) == (
        "as it was stored"
    )


def test_apschedulers_own_replacement_drops_an_overdue_tick(tmp_path: Path) -> None:
    """Why `put` is not ``add_job(replace_existing=True)``."""
    for _ in range(2):
        scheduler = BackgroundScheduler(jobstores={"default": SQLAlchemyJobStore(f"sqlite:///{tmp_path / 'x.db'}")})
        scheduler.start(paused=True)
        scheduler.add_job("time:sleep", "interval", hours=1, args=[0], id="x", replace_existing=True)
        after = scheduler.get_job("x").next_run_time
        scheduler.modify_job("x", next_run_time=LONG_AGO)
        scheduler.shutdown()
    assert after > NOW


@pytest.mark.parametrize("change", [{}, {"retries": 7}, {"interval": 60.0}])
def test_starting_again_keeps_an_overdue_tick(tmp_path: Path, change: dict[str, Any]) -> None:
    store, _ = overdue(tmp_path)
    put(store, tmp_path, spec_for(tmp_path, **change))
    job = stored(store)
    assert job.next_run_time == LONG_AGO
    assert job.kwargs["spec"].options.retries == change.get("retries", 2)


def test_another_time_without_catching_up_begins_anew(tmp_path: Path) -> None:
    store, _ = overdue(tmp_path, catch_up="skip")
    put(store, tmp_path, spec_for(tmp_path, catch_up="skip", interval=60.0))
    assert stored(store).next_run_time > NOW


def test_a_paused_schedule_stays_paused(tmp_path: Path) -> None:
    store, spec = overdue(tmp_path)
    store.update_job(store.job(spec, None))
    assert put(store, tmp_path, spec_for(tmp_path, interval=60.0)) == "changed, paused as before"
    assert stored(store).next_run_time is None


class Planted:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_nothing_in_the_store_is_run_by_reading_it_and_nothing_unreadable_is_deleted(tmp_path: Path) -> None:
    target = tmp_path / "planted"
    payload = pickle.dumps(Planted(target))
    store, spec = overdue(tmp_path)
    with store.engine.begin() as connection:
        connection.execute(store.jobs_t.update().values(job_state=payload))
    with pytest.raises(InputError, match=r"a row of the table detpress_schedules in schedule.store cannot be read"):
        store.get_all_jobs()
    for change, said in (({"spec": {}}, "options is missing"), ({"next_run_time": 3}, "next_run_time is 3")):
        row = {"schema": 1, "spec": dataclasses.asdict(spec), "next_run_time": None, **change}
        with store.engine.begin() as connection:
            connection.execute(store.jobs_t.update().values(job_state=json.dumps(row).encode()))
        with pytest.raises(InputError, match=said):
            store.get_all_jobs()
    with store.engine.begin() as connection:
        connection.execute(store.jobs_t.update().values(job_state=json.dumps({"schema": 99}).encode()))
    with pytest.raises(StoreError, match="another version of detpress"):
        store.get_all_jobs()
    with store.engine.begin() as connection:
        assert len(connection.execute(store.jobs_t.select()).all()) == 1
    assert not target.exists()


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    overdue(tmp_path)
    assert stat.S_IMODE((tmp_path / "schedule" / "jobs.db").stat().st_mode) == 0o600


def test_a_store_that_was_killed_while_it_was_made_is_no_obstacle(tmp_path: Path) -> None:
    file = tmp_path / "schedule" / "jobs.db"
    file.parent.mkdir()
    file.touch(0o600)  # as an earlier version began
    store, _ = overdue(tmp_path)
    store.engine.dispose()
    for number in range(10):
        file.unlink()
        child = os.fork()
        if child == 0:
            store_of(tmp_path)
            os._exit(0)
        time.sleep(0.01 * number)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if file.exists():
            with contextlib.closing(sqlite3.connect(file)) as connection:
                assert connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        store_of(tmp_path).engine.dispose()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "schedule").write_text("in the way")
    with pytest.raises(StoreError, match=r"schedule\.store"):
        store_of(tmp_path)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("http://h/x", False),
        ("$HOOK", False),
        ("https://h/x?token=$HOOK_TOKEN", False),
        ("postgresql+psycopg://me:$PG_PASSWORD@db/x", False),
        ("postgresql+psycopg://me@db/x", False),
        ("postgresql+psycopg://me:hunter2@db/x", True),
        ("https://h/x?token=hunter2", True),
        ("--token hunter2", True),
        ("--token=hunter2", True),
        ("mail -s done ops", False),
    ],
)
def test_what_counts_as_a_secret_written_out(text: str, secret: bool) -> None:
    assert states_a_secret(text) is secret


# --- the command line ---------------------------------------------------------------------------------------------


def detpress(*arguments: str) -> int:
    return main(["schedule", *arguments])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_add_list_pause_resume_run_history_remove(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan(here / "artifacts", outcomes=["kept"])
    command = f"schedule.command=[{','.join(STUB)}]"
    override = f"run.artifacts={here / 'artifacts'}"
    assert detpress("add", "experiment=demo", "schedule=nightly", "schedule.timezone=UTC", command, override) == 0
    assert "schedule retrain: added, next tick" in capsys.readouterr().out
    assert detpress("list", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    (row,) = told["schedules"]
    assert not told["served"] and row["when"] == "0 3 * * * (UTC)" and row["last"] is None
    assert row["command"] == [*STUB, "experiment=demo", override]  # what concerns the schedule alone is not passed on
    assert detpress("pause", "retrain") == 0
    assert detpress("list") == 0
    said = capsys.readouterr().out
    assert "paused" in said and "no scheduler runs" in said
    assert detpress("resume", "retrain") == 0
    assert "retrain: next tick" in capsys.readouterr().out
    assert detpress("run", "retrain") == 3
    capsys.readouterr()
    assert detpress("history", "--json") == 0
    assert [e["outcome"] for e in json.loads(capsys.readouterr().out)["history"]] == ["kept"]
    assert detpress("history", "retrain") == 0
    assert "kept" in capsys.readouterr().out
    assert detpress("remove", "retrain") == 0
    assert detpress("pause", "retrain") == 2
    assert "there is no schedule retrain in this store (there are: none)" in capsys.readouterr().err


def test_every_problem_is_told_at_once_and_no_secret_is_stored(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        detpress(
            "experiment=demo",
            "schedule.cron=0 3 * * 9",
            "schedule.overlap=both",
            "schedule.notify.webhook='https://h.test/x?token=hunter2'",
            "schedule.notify.outcomes=[promted]",
            "schedule.retries=-1",
        )
        == 2
    )
    said = " ".join(capsys.readouterr().err.split())
    for part in (
        "has 5 problems",
        "schedule.cron: '0 3 * * 9' does not fit; 9 is no day of the week",
        "schedule.overlap: 'both' does not fit",
        "schedule.notify.webhook: has a secret in it; export that and write $NAME",
        "there is no outcome promted; did you mean promoted?",
        "schedule.retries: -1 does not fit",
    ):
        assert part in said
    assert "hunter2" not in said
    assert detpress("add", "experiment=demo", "tracking.uri=http://me:hunter2@h.test", "run.artifacts=mine") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "schedule: it says no time" in said and "the job store keeps this command" in said
    assert "hunter2" not in said
    assert not (here / "artifacts").exists() and not (here / "mine").exists()


def test_a_wrong_word_or_store_is_one_clear_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert detpress("pase", "retrain") == 2
    assert "pase: neither a sub-command (add, list," in " ".join(capsys.readouterr().err.split())
    assert detpress("list") == 2
    assert "there are no schedules in" in capsys.readouterr().err
    assert detpress("experiment=demo", "schedule=nightly", "-m") == 2
    assert "a schedule is one config" in capsys.readouterr().err
    assert detpress("list", "--store", "postgresql+psycopg://me:$NOT_SET_HERE@127.0.0.1:1/x") == 2
    assert "names $NOT_SET_HERE, which is not set" in capsys.readouterr().err
    assert records.read(here / "artifacts") == []
