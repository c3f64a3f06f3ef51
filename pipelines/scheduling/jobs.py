"""The job store: APScheduler's SQLAlchemy one, with JSON in it instead of pickles.

A pickle runs whatever it names when it is read, and a job store may lie in a database that others can write to. What a
schedule is made of is plain data anyway: the trigger follows from the options.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypedDict

from apscheduler.job import Job
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.util import datetime_to_utc_timestamp
from sqlalchemy import and_, select, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from pipelines.config.cron import trigger_of
from pipelines.config.options.schedule import NotifyOptions, ScheduleOptions, expand
from pipelines.system.database import ensure, sqlite_file, sqlite_url
from pipelines.system.redact import redact_text
from stages.errors import InputError, StoreError
from stages.outside import records
from stages.outside.text import url as told
from stages.outside.text import urls

TABLE = "detpress_schedules"
_SCHEMA = 1
_PLACE = f"a row of the table {TABLE} in schedule.store"
_ADVISORY_KEY = 0x64657470  # ours among the locks of a PostgreSQL database


@dataclass
class Spec:
    """A schedule: what is started, where, and when."""

    options: ScheduleOptions
    command: list[str]
    folder: str
    """Where the command is started: relative paths in it mean what they meant to the user."""
    artifacts: str
    tracking: dict[str, Any] = field(default_factory=dict)
    """The run's ``tracking`` options, to mark in MLflow what was interrupted."""
    anchor: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat())

    @property
    def name(self) -> str:
        return self.options.name

    def same_as(self, other: Spec) -> bool:
        """Whether nothing but the moment of its making differs."""
        return dataclasses.replace(self, anchor="") == dataclasses.replace(other, anchor="")

    def ticks_as(self, other: Spec) -> bool:
        """Whether both tick at the same times."""
        mine, theirs = self.options, other.options
        return (mine.cron, mine.interval, mine.timezone) == (theirs.cron, theirs.interval, theirs.timezone)


class _Row(TypedDict):
    """What a row's ``job_state`` holds."""

    schema: int
    spec: dict[str, Any]
    next_run_time: str | None


def store_url(options: ScheduleOptions, artifacts: Path) -> str:
    """The URL of the job store. Raises InputError if a variable that it names is not set."""
    if options.store is None:
        return sqlite_url(artifacts.resolve() / "schedule" / "jobs.db")
    try:
        return expand(options.store)
    except KeyError as error:
        raise InputError(f"schedule.store names ${error.args[0]}, which is not set; export it and try again") from error


class JobStore(SQLAlchemyJobStore):  # type: ignore[misc]
    """Schedules in a table of their own, a row each."""

    def __init__(self, url: str, run: Callable[[Spec], None] | None = None) -> None:
        """``run`` is what a tick calls; a process that only lists or changes schedules needs none.

        Raises:
            InputError: the URL or its driver is not usable.
            StoreError: the database cannot be reached.
        """
        self._run = run or _nothing
        try:
            if path := sqlite_file(url):  # it names commands that will be run: not for others
                ensure(path, _make, lambda connection, tables: bool(tables), mode=0o600)
            super().__init__(url, tablename=TABLE)
            self.jobs_t.create(self.engine, True)
        except OSError as error:
            raise StoreError(
                f"the job store {redact_text(url)} cannot be written: {error.strerror}; set schedule.store, or "
                "run.artifacts=FOLDER to a folder that is writable"
            ) from error
        except ModuleNotFoundError as error:
            raise InputError(
                f"schedule.store: {told(url)} needs the Python package {error.name}; for PostgreSQL: "
                'pip install "detpress[postgres]"'
            ) from error
        except SQLAlchemyError as error:
            reason = urls(redact_text(str(error))).splitlines()[0]
            raise StoreError(
                f"the job store {told(url)} cannot be opened: {reason}; check schedule.store and that the database runs"
            ) from error

    def add_job(self, job: Job) -> None:
        row = self.jobs_t.insert().values(id=job.id, **_row(job))
        with self.engine.begin() as connection:
            try:
                connection.execute(row)
            except IntegrityError:
                raise ConflictingIdError(job.id) from None

    def update_job(self, job: Job) -> None:
        row = self.jobs_t.update().values(**_row(job)).where(self.jobs_t.c.id == job.id)
        with self.engine.begin() as connection:
            if connection.execute(row).rowcount == 0:
                raise JobLookupError(job.id)

    def _reconstitute_job(self, job_state: bytes) -> Job:
        content = records.parse(job_state, _PLACE)
        if content.get("schema") != _SCHEMA:
            raise StoreError("a schedule was stored by another version of detpress; add it again with this one")
        row: _Row = records.parse(job_state, _PLACE, _Row)
        due = row["next_run_time"]
        try:
            spec = spec_from(row["spec"])
            return self.job(spec, None if due is None else datetime.fromisoformat(due))
        except ValueError as error:
            raise InputError(f"{_PLACE} cannot be read: {error}; remove that schedule and add it again") from error

    def _get_jobs(self, *conditions: Any) -> list[Job]:
        """All or some of the jobs. The base class deletes what it cannot read; a schedule must not vanish like that."""
        rows = select(self.jobs_t.c.job_state).order_by(self.jobs_t.c.next_run_time)
        with self.engine.begin() as connection:
            found = connection.execute(rows.where(and_(*conditions)) if conditions else rows)
            return [self._reconstitute_job(row.job_state) for row in found]

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep schedulers of other machines off a PostgreSQL store; on one machine a file's lock does that.

        Raises:
            InputError: another scheduler has it.
        """
        if self.engine.dialect.name != "postgresql":
            yield
            return
        with self.engine.connect() as connection:
            got = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _ADVISORY_KEY}).scalar()
            connection.commit()  # the lock belongs to the session; no transaction stays open for months
            if not got:
                raise InputError(
                    "a scheduler on another machine serves this database; stop that one, or name another database in "
                    "schedule.store"
                )
            yield

    def job(self, spec: Spec, due: datetime | None) -> Job:
        """A job of this store; ``due`` is its next tick, ``None``: paused."""
        options = spec.options
        job = Job.__new__(Job)
        job.__setstate__(
            {
                "id": spec.name,
                "name": spec.name,
                "func": "pipelines.scheduling.jobs:_nothing",
                "trigger": trigger_of(options, datetime.fromisoformat(spec.anchor)),
                "executor": "default",
                "args": (),
                "kwargs": {"spec": spec},
                "misfire_grace_time": options.max_late if options.catch_up == "skip" else None,
                "coalesce": True,
                "max_instances": 2 if options.overlap == "queue" else 1,
                "next_run_time": due,
            }
        )
        job.func = self._run  # told by this process, never by the database
        job._scheduler, job._jobstore_alias = self._scheduler, self._alias
        return job


def _make(path: Path) -> None:
    made = SQLAlchemyJobStore(sqlite_url(path), tablename=TABLE)
    made.jobs_t.create(made.engine, True)
    made.engine.dispose()


def _row(job: Job) -> dict[str, Any]:
    due = job.next_run_time
    content = {
        "schema": _SCHEMA,
        "spec": dataclasses.asdict(job.kwargs["spec"]),
        "next_run_time": None if due is None else due.isoformat(),
    }
    return {"next_run_time": datetime_to_utc_timestamp(due), "job_state": json.dumps(content).encode()}


def spec_from(content: dict[str, Any]) -> Spec:
    """The schedule that ``dataclasses.asdict`` made ``content`` of. Raises ValueError: a field is missing or wrong."""
    records.conform(content, Spec)
    options = dict(content["options"])
    notify = NotifyOptions(**options.pop("notify"))
    return Spec(**{**content, "options": ScheduleOptions(notify=notify, **options)})


def _nothing(spec: Spec) -> None:
    """What a job of a process that runs none would call."""
