"""What changes a schedule, or what it does now: ``pause``, ``resume``, ``remove``, ``run``, ``run-now``, ``stop``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config.options.schedule import ScheduleOptions
from pipelines.scheduling import records
from pipelines.system.times import local
from stages.errors import ExitCode, InputError

if TYPE_CHECKING:
    from apscheduler.job import Job

    from pipelines.scheduling.jobs import JobStore

_EXIT_CODES = {outcome: code for code, outcome in records.BY_EXIT_CODE.items() if code != ExitCode.INTERRUPTED}
_BUSY = ExitCode.STAGE_FAILED


def pause(store: JobStore, folder: Path, job: Job) -> int:
    _set_due(store, folder, job.id, lambda job: None)
    print(f"{job.id}: paused; a run in progress is not stopped. `detpress schedule resume {job.id}` lets it tick again")
    return ExitCode.DONE


def resume(store: JobStore, folder: Path, job: Job) -> int:
    from pipelines.scheduling.serving import serving

    now = datetime.now(timezone.utc)
    due = _set_due(store, folder, job.id, lambda job: job.next_run_time or job.trigger.get_next_fire_time(None, now))
    hint = "" if serving(folder) else "; no scheduler runs: start `detpress schedule serve`"
    print(f"{job.id}: next tick {local(due)}{hint}")
    return ExitCode.DONE


def remove(store: JobStore, folder: Path, job: Job) -> int:
    from pipelines.scheduling.serving import editing

    with editing(folder):
        store.remove_job(job.id)
    print(f"{job.id}: removed; a run in progress is not stopped, and its results stay")
    return ExitCode.DONE


def run(store: JobStore, folder: Path, job: Job) -> int:
    """One tick here and now, with the schedule's lock, deadline, retries and notification."""
    from pipelines.scheduling.serving import say, stopping
    from pipelines.scheduling.tick import TickRunner

    stop = threading.Event()
    with stopping(stop):
        line = TickRunner(job.kwargs["spec"], stop, say).run()
    return _EXIT_CODES.get(str(line["outcome"]), _BUSY)


def run_now(store: JobStore, folder: Path, job: Job) -> int:
    """One tick now, in the scheduler that runs."""
    from pipelines.scheduling import requests
    from pipelines.scheduling.serving import serving

    if not serving(folder):
        raise InputError(f"no scheduler runs; `detpress schedule run {job.id}` starts one tick here and now")
    requests.ask_to_run(folder, job.id)
    print(f"{job.id}: the scheduler starts a tick now; `detpress schedule logs {job.id} -f` shows what it does")
    return ExitCode.DONE


def stop(artifacts: Path, name: str, options: ScheduleOptions, *, again: bool) -> int:
    """End the retraining of a schedule in order; its later ticks stay. ``again``: whether there will be any."""
    from pipelines.scheduling import requests

    ticks = [tick for tick in records.open_ticks(artifacts) if tick.schedule == name]
    tick = requests.stop(ticks, options.grace)
    if tick is None:
        print(f"{name}: nothing of it runs")
        return ExitCode.DONE
    ended = [line for line in records.read(artifacts, name) if line.get("tick") == tick.id]
    outcome = f"{ended[-1].get('outcome')}: {ended[-1].get('reason')}" if ended and not tick.is_open else tick.now
    print(
        f"{name}: {outcome}" + (f". `detpress schedule pause {name}` would keep it from ticking again" if again else "")
    )
    return ExitCode.DONE


def _set_due(store: JobStore, folder: Path, name: str, due: Callable[[Job], Any]) -> Any:
    from pipelines.scheduling.serving import editing

    with editing(folder):
        job = store.lookup_job(name)
        if job is None:
            raise InputError(f"{name} was removed just now")
        job.next_run_time = due(job)
        store.update_job(job)
        return job.next_run_time


CHANGES: dict[str, Callable[[Any, Path, Any], int]] = {
    "pause": pause,
    "resume": resume,
    "remove": remove,
    "run": run,
    "run-now": run_now,
}
