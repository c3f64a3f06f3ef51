"""``detpress schedule``: put a schedule into the store and serve it, or look at and change what is there."""

from __future__ import annotations

import argparse
import re
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pipelines.config.options.schedule import ScheduleOptions
from pipelines.config.schema import PipelineConfig
from pipelines.scheduling import records
from pipelines.system.database import sqlite_file
from pipelines.system.redact import redact_text
from stages.codec import to_json
from stages.errors import ConfigError, ExitCode, InputError
from stages.processes import python

if TYPE_CHECKING:
    from apscheduler.job import Job

    from pipelines.scheduling.jobs import JobStore, Spec

_OWN = re.compile(r"[+~]*schedule([.=@]|$)")
"""Overrides that are the scheduler's own; the rest is what `detpress retrain` gets."""
_EXIT_CODES = {outcome: code for code, outcome in records.BY_EXIT_CODE.items() if code != ExitCode.INTERRUPTED}
_BUSY = ExitCode.STAGE_FAILED


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see detpress schedule --help")


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Run one command line: a sub-command, or overrides."""
    name = arguments[0] if arguments else ""
    if name in _CHANGES or name in _VIEWS:
        return _stored(name, arguments[1:])
    if name and "=" not in name and name != "add" and not name.startswith(("-", "~", "+")):
        known = ", ".join(["add", *_VIEWS, *_CHANGES])
        raise InputError(f"{name}: neither a sub-command ({known}) nor an override (KEY=VALUE)")
    from pipelines.commands import hydra_command

    if any(argument in ("-m", "--multirun") for argument in arguments):
        raise InputError("-m: a schedule is one config; give each its own schedule.name and add them one by one")
    adds = name == "add"

    def task(config: PipelineConfig, command: list[str]) -> int:
        return _register(config, command[2:], serve=not adds)

    return hydra_command.run("schedule", arguments[1:] if adds else arguments, task, debug=debug)


def _register(config: PipelineConfig, arguments: Sequence[str], *, serve: bool) -> int:
    """Put the schedule of ``config`` into its store, if it is not there yet, and serve the store."""
    from pipelines.scheduling.jobs import JobStore, Spec, store_url

    options = config.schedule
    problems = []
    if options.cron is None and options.interval is None:
        problems.append("schedule: it says no time; e.g. schedule.cron='0 3 * * *' or schedule.interval=3600")
    passed = [argument for argument in arguments if not _OWN.match(argument)]
    for argument in [a for a in passed if redact_text(a) != a]:
        problems.append(
            f"{redact_text(argument)}: the job store keeps this command, so it cannot hold a secret; give it through "
            "the environment (MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD for tracking.uri)"
        )
    if problems:
        raise ConfigError(problems)
    artifacts = Path(config.run.artifacts).resolve()
    started = options.command or python.portable("pipelines.cli", "retrain")
    tracking = {**to_json(config.tracking), "folder": str(Path(config.tracking.folder).resolve())}
    spec = Spec(options, [*started, *passed], str(Path.cwd()), str(artifacts), tracking)
    url = store_url(options, artifacts)
    store = JobStore(url)
    folder = lock_folder(url, artifacts)
    print(f"schedule {spec.name}: {put(store, folder, spec)}", flush=True)
    store.shutdown()
    if not serve:
        return ExitCode.DONE
    from pipelines.scheduling.serving import Service

    return Service(url, folder).run()


def lock_folder(url: str, artifacts: Path) -> Path:
    """Where the locks of a store are: beside its file, or under the artifacts if it is on a server."""
    file = sqlite_file(url)
    return records.root(artifacts) if file is None else file.parent


def put(store: JobStore, folder: Path, spec: Spec) -> str:
    """Add or update a schedule; returns what was done.

    APScheduler's ``replace_existing=True`` would count the next tick from now, and so drop one that is overdue. Here
    an overdue tick stays due, a paused schedule stays paused, and an unchanged one is not touched.
    """
    from pipelines.scheduling.serving import editing, local

    now = datetime.now(timezone.utc)
    with editing(folder):
        old = store.lookup_job(spec.name)
        if old is None:
            job = store.job(spec, None)
            job.next_run_time = now if spec.options.at_start else job.trigger.get_next_fire_time(None, now)
            store.add_job(job)
            return f"added, next tick {local(job.next_run_time)}"
        before: Spec = old.kwargs["spec"]
        if spec.same_as(before):
            return "as it was stored"
        due = old.next_run_time
        if spec.ticks_as(before):
            spec.anchor = before.anchor
        elif due is not None and not (due <= now and spec.options.catch_up == "once"):
            due = store.job(spec, None).trigger.get_next_fire_time(None, now)
        store.update_job(store.job(spec, due))
        return "changed, " + ("paused as before" if due is None else f"next tick {local(due)}")


# --- what is stored -----------------------------------------------------------------------------------------------


def _stored(name: str, arguments: Sequence[str]) -> int:
    parser = _Parser(prog=f"detpress schedule {name}")
    if name in _CHANGES:
        parser.add_argument("name", help="of the schedule (schedule.name)")
    elif name == "history":
        parser.add_argument("name", nargs="?", help="of the schedule; all of them without")
        parser.add_argument("--last", type=int, default=20, metavar="N", help="the newest N (default: %(default)s)")
    if name in _VIEWS and name != "serve":
        parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    parser.add_argument("--store", metavar="URL", help="the job store, if it is elsewhere (schedule.store)")
    options = parser.parse_args(arguments)
    if name == "history":
        from pipelines.commands import schedule_views

        return schedule_views.history(Path(options.artifacts), options.name, options.last, as_json=options.json)
    from pipelines.scheduling.jobs import JobStore, store_url

    artifacts = Path(options.artifacts).resolve()
    url = store_url(ScheduleOptions(store=options.store), artifacts)
    folder = lock_folder(url, artifacts)
    if (file := sqlite_file(url)) is not None and not file.is_file():
        raise InputError(f"there are no schedules in {folder}; make one with `detpress schedule schedule.cron=...`")
    if name == "serve":
        from pipelines.scheduling.serving import Service

        return Service(url, folder).run()
    store = JobStore(url)
    if name == "list":
        from pipelines.commands import schedule_views

        return schedule_views.schedules(store.get_all_jobs(), folder, as_json=options.json)
    job = store.lookup_job(options.name)
    if job is None:
        known = ", ".join(sorted(job.id for job in store.get_all_jobs())) or "none"
        raise InputError(f"there is no schedule {options.name} in this store (there are: {known})")
    return _CHANGES[name](store, folder, job)


def _pause(store: JobStore, folder: Path, job: Job) -> int:
    _set_due(store, folder, job.id, lambda job: None)
    print(f"{job.id}: paused; a run in progress is not stopped. `detpress schedule resume {job.id}` lets it tick again")
    return ExitCode.DONE


def _resume(store: JobStore, folder: Path, job: Job) -> int:
    from pipelines.scheduling.serving import local, serving

    now = datetime.now(timezone.utc)
    due = _set_due(store, folder, job.id, lambda job: job.next_run_time or job.trigger.get_next_fire_time(None, now))
    hint = "" if serving(folder) else "; no scheduler runs: start `detpress schedule serve`"
    print(f"{job.id}: next tick {local(due)}{hint}")
    return ExitCode.DONE


def _remove(store: JobStore, folder: Path, job: Job) -> int:
    from pipelines.scheduling.serving import editing

    with editing(folder):
        store.remove_job(job.id)
    print(f"{job.id}: removed; a run in progress is not stopped, and its results stay")
    return ExitCode.DONE


def _run(store: JobStore, folder: Path, job: Job) -> int:
    """One tick here and now, with the schedule's lock, deadline, retries and notification."""
    from pipelines.scheduling.serving import say, stopping
    from pipelines.scheduling.tick import TickRunner

    stop = threading.Event()
    with stopping(stop):
        line = TickRunner(job.kwargs["spec"], stop, say).run()
    return _EXIT_CODES.get(str(line["outcome"]), _BUSY)


def _set_due(store: JobStore, folder: Path, name: str, due: Callable[[Job], Any]) -> Any:
    from pipelines.scheduling.serving import editing

    with editing(folder):
        job = store.lookup_job(name)
        if job is None:
            raise InputError(f"{name} was removed just now")
        job.next_run_time = due(job)
        store.update_job(job)
        return job.next_run_time


_CHANGES: dict[str, Callable[[Any, Path, Any], int]] = {
    "pause": _pause,
    "resume": _resume,
    "remove": _remove,
    "run": _run,
}
_VIEWS = ("list", "history", "serve")
