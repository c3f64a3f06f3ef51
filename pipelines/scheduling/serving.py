"""The scheduler itself: one process per job store, in the foreground, until it is told to stop."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timezone
from pathlib import Path
from types import FrameType
from typing import Any

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler

from pipelines.config.options.schedule import MISSED, SKIPPED
from pipelines.scheduling import records, requests
from pipelines.scheduling.jobs import JobStore, Spec
from pipelines.scheduling.notify import notify
from pipelines.scheduling.records import Tick
from pipelines.scheduling.tick import TickRunner
from pipelines.system import locks
from pipelines.system.redact import redact_text
from pipelines.system.times import local
from stages.errors import ExitCode, InputError
from stages.outside.text import told
from stages.processes.signals import heard

_LOOK_SECONDS = 1.0
"""How often the store is looked at for what other processes changed: pause, resume, a new schedule."""
_WORKERS = 32  # ticks wait in threads, they do not compute


def say(text: str) -> None:
    """A line on standard output, with the time."""
    print(f"{local(time.time())} {told(redact_text(text))}", flush=True)


class _Scheduler(BackgroundScheduler):  # type: ignore[misc]
    """Decides and stores under the store's lock: a pause written in between would be overwritten."""

    guard: Callable[[], contextlib.AbstractContextManager[None]]

    def _process_jobs(self) -> Any:
        with self.guard():
            return super()._process_jobs()


class Service:
    """What `serve` runs."""

    def __init__(self, url: str, lock_folder: Path) -> None:
        self.stop = threading.Event()
        self.store = JobStore(url, self._tick)
        self._lock_folder = lock_folder
        self._threads: list[threading.Thread] = []
        self._skipped: dict[str, int] = {}
        """Ticks of a schedule that were skipped since it was last said so."""
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # what it has to say comes as events
        self._scheduler = _Scheduler(timezone=timezone.utc)
        self._scheduler.guard = lambda: editing(lock_folder)
        self._scheduler.add_jobstore(self.store)
        self._scheduler.add_executor(ThreadPoolExecutor(_WORKERS))
        self._scheduler.add_listener(self._missed, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_ERROR)

    def run(self) -> int:
        """Serve until SIGINT or SIGTERM; what runs then is stopped, and continued at the next start."""
        with only_one(self._lock_folder), self.store.claimed(), stopping(self.stop):
            jobs = self.store.get_all_jobs()
            self._recover(jobs)
            self._scheduler.start()
            for job in jobs:
                due = job.next_run_time
                say(f"{job.id}: {'paused' if due is None else f'next tick {local(due)}'}")
            try:
                while not self.stop.wait(_LOOK_SECONDS):
                    self._scheduler.wakeup()
                    self._run_now()
            finally:
                self.stop.set()
                say("stopping")
                self._scheduler.shutdown(wait=True)
                for thread in self._threads:
                    thread.join()
        return ExitCode.DONE

    def _tick(self, spec: Spec) -> None:
        if skipped := self._skipped.pop(spec.name, 0):
            say(f"{spec.name}: skipped ×{skipped + 1} in the meantime")
        TickRunner(spec, self.stop, say).run()

    def _run_now(self) -> None:
        """The ticks that `detpress schedule run-now` asks for; the schedules' own times stay as they are."""
        for name in requests.taken(self._lock_folder):
            job = self.store.lookup_job(name)
            if job is not None:
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                thread = threading.Thread(target=self._tick, args=(job.kwargs["spec"],), name=f"{name} now")
                self._threads.append(thread)
                thread.start()

    def _recover(self, jobs: list[Job]) -> None:
        """Continue what an earlier scheduler left; the lock is tried before any tick can be due."""
        specs = {job.id: job.kwargs["spec"] for job in jobs}
        for artifacts in sorted({Path(spec.artifacts) for spec in specs.values()}):
            for tick in records.abandoned(artifacts):
                spec = specs.get(tick.schedule)
                if spec is None or Path(spec.artifacts) != artifacts:
                    say(f"{tick.schedule}: was removed; its unfinished tick {tick.id} is dropped")
                    records.append(artifacts, {"schedule": tick.schedule, "tick": tick.id, "outcome": SKIPPED})
                    tick.close()
                    continue
                runner = TickRunner(spec, self.stop, say)
                held = locks.acquire(records.lock_of(artifacts))
                thread = threading.Thread(target=runner.resume, args=(tick, held), name=tick.id)
                self._threads.append(thread)
                thread.start()

    def _missed(self, event: JobEvent) -> None:
        """What APScheduler did not run goes into the history too."""
        job = self.store.lookup_job(event.job_id)
        if event.code == EVENT_JOB_ERROR:
            say(f"{event.job_id}: unexpected error: {event.exception!r}\n{event.traceback}")
            return
        if job is None:
            return
        spec: Spec = job.kwargs["spec"]
        due = getattr(event, "scheduled_run_time", None) or event.scheduled_run_times[-1]
        if event.code == EVENT_JOB_MISSED:
            outcome, reason = MISSED, f"due {local(due)}, too late now (schedule.catch_up=skip)"
        elif spec.options.overlap == "queue":
            outcome, reason = SKIPPED, "one tick waits already"
        else:
            outcome, reason = SKIPPED, "the tick before it is still running"
        tick = Tick(spec.name, Path(spec.artifacts))
        entry = {"schedule": spec.name, "tick": tick.id, "outcome": outcome, "reason": reason}
        line = records.append(Path(spec.artifacts), entry)
        if outcome != SKIPPED or spec.name not in self._skipped:
            say(f"{spec.name}: {outcome}: {reason}")
        if outcome == SKIPPED:  # one line for the first of a row, one for the rest when it is over
            self._skipped[spec.name] = self._skipped.get(spec.name, -1) + 1
        for problem in notify(spec.options.notify, line):
            say(f"{spec.name}: warning: {problem}")


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the store for this process. Raises InputError if another scheduler serves it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".serving").open("a+") as stream:
        if not locks.try_exclusive(stream):
            stream.seek(0)
            raise InputError(
                f"a scheduler (process {stream.read().strip() or '?'}) serves this store already; add a schedule to it "
                "with `detpress schedule add ...`, or give this one a store of its own (schedule.store)"
            )
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def serving(folder: Path) -> bool:
    """Whether a scheduler serves the store."""
    return locks.held(folder / ".serving")


@contextlib.contextmanager
def editing(folder: Path) -> Iterator[None]:
    """Read a schedule and write it back with nobody in between."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".editing").open("w") as stream, locks.exclusive(stream):
        yield


@contextlib.contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set ``stop``; a second one ends the process at once. A SIGINT that is ignored stays so."""

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():  # asked twice: no more grace
            os._exit(128 + number)
        stop.set()

    with heard((signal.SIGINT, signal.SIGTERM), handle):
        yield
