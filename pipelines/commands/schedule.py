"""``detpress schedule``: put a schedule into the store and serve it, or look at and change what is there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pipelines.commands.schedule_changes import CHANGES, stop
from pipelines.config.keys import close_to, suggestion
from pipelines.config.options.schedule import ScheduleOptions
from pipelines.config.schema import PipelineConfig
from pipelines.scheduling import records
from pipelines.system.arguments import Parser
from pipelines.system.database import sqlite_file
from pipelines.system.redact import redact_text
from pipelines.system.times import local
from stages.codec import to_json
from stages.errors import ConfigError, ExitCode, InputError
from stages.processes import python

if TYPE_CHECKING:
    from apscheduler.job import Job

    from pipelines.scheduling.jobs import JobStore, Spec

_OWN = re.compile(r"[+~]*schedule([.=@]|$)")
"""Overrides that are the scheduler's own; the rest is what `detpress retrain` gets."""


class _Parser(Parser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see detpress schedule --help")


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Run one command line: a sub-command, or overrides."""
    name = arguments[0] if arguments else ""
    if name in CHANGES or name in _VIEWS:
        return _stored(name, arguments[1:])
    if name and "=" not in name and name != "add" and not name.startswith(("-", "~", "+")):
        known = ", ".join(SUBCOMMANDS)
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
    from pipelines.scheduling.serving import editing

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
    options = _parser(name).parse_args(arguments)
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
    if name in ("list", "status"):
        from pipelines.commands import schedule_views

        jobs = [_known(store, options.name)] if name == "status" and options.name else store.get_all_jobs()
        show = schedule_views.statuses if name == "status" else schedule_views.schedules
        return show(jobs, folder, as_json=options.json)
    if name in ("logs", "stop"):
        runs_still = options.name in {tick.schedule for tick in records.open_ticks(artifacts)}  # but was removed
        job = store.lookup_job(options.name) if runs_still else _known(store, options.name)
        spec: Spec | None = job.kwargs["spec"] if job is not None else None
        where = Path(spec.artifacts) if spec is not None else artifacts
        if name == "stop":
            again = job is not None and job.next_run_time is not None
            return stop(where, options.name, spec.options if spec is not None else ScheduleOptions(), again=again)
        from pipelines.commands import schedule_views

        return schedule_views.logs(where, options.name, follow=options.follow)
    return CHANGES[name](store, folder, _known(store, options.name))


def _parser(name: str) -> _Parser:
    """The arguments of a sub-command."""
    parser = _Parser(prog=f"detpress schedule {name}", description=_HELP[name])
    if name in CHANGES or name in ("logs", "stop"):
        parser.add_argument("name", help="of the schedule (schedule.name)")
    elif name in ("history", "status"):
        parser.add_argument("name", nargs="?", help="of the schedule; all of them without")
    if name == "history":
        parser.add_argument("--last", type=int, default=20, metavar="N", help="the newest N (default: %(default)s)")
    if name == "logs":
        parser.add_argument("-f", "--follow", action="store_true", help="go along until the retraining has ended")
    if name in ("list", "status", "history"):
        parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    parser.add_argument("--store", metavar="URL", help="the job store, if it is elsewhere (schedule.store)")
    return parser


def _known(store: JobStore, name: str) -> Job:
    """The stored schedule ``name``. Raises InputError if there is none."""
    job = store.lookup_job(name)
    if job is None:
        names = sorted(job.id for job in store.get_all_jobs())
        known = ", ".join(names) or "none"
        raise InputError(
            f"there is no schedule {name} in this store{suggestion(close_to(name, names))} (there are: {known})"
        )
    return job


_VIEWS = ("list", "status", "history", "logs", "stop", "serve")
SUBCOMMANDS = ("add", *_VIEWS, *CHANGES)
_HELP = {
    "list": "Every schedule of the store: when, its next tick, what it does now, how it ended last.",
    "status": "What a schedule does now (its stage, and when that may be over), how its last tick ended, when the next "
    "one is due.",
    "history": "How each tick ended; skipped ticks in a row are one line.",
    "logs": "What the newest retraining of a schedule printed.",
    "serve": "Serve the stored schedules, in the foreground, until Ctrl-C or SIGTERM.",
    "pause": "Let a schedule start no more ticks. A retraining that runs is not stopped.",
    "resume": "Let a paused schedule tick again.",
    "remove": "Remove a schedule from the store. A retraining that runs is not stopped, and its results stay.",
    "run": "One tick here and now, in the foreground, with the schedule's lock, deadline, retries and notification.",
    "run-now": "One tick now, in the scheduler that runs. The schedule's own times stay as they are, paused or not.",
    "stop": "End the retraining of a schedule that runs, as SIGTERM does: what it finished is kept, and the next tick "
    "continues from there.",
}
