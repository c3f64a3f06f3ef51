"""What a schedule does now, how it ended last and when it ticks next, read from the files that ticks leave."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config.options.schedule import KEPT, MISSED, PROMOTED, SKIPPED
from pipelines.runs import history, progress
from pipelines.scheduling import records
from pipelines.scheduling.records import QUEUED, RUNNING, WAITING, Tick
from pipelines.system import locks
from pipelines.system.run_lock import is_alive
from pipelines.system.times import distance, local, moment, span

if TYPE_CHECKING:
    from apscheduler.job import Job

_NEWEST_RUNS = 5
"""Among which the running one is looked for: a retraining is one of the newest."""
_CLOCK_SECONDS = 2.0


@dataclass(frozen=True)
class Status:
    """One schedule, in words; ``last`` is the line of the history of its last tick that came to an end."""

    name: str
    when: str
    next: str
    now: str
    last: dict[str, Any] | None
    skipped: int
    """How many ticks were skipped or missed since."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def status(job: Job, *, served: bool) -> Status:
    """How things stand with a stored schedule; ``served``: whether a scheduler would start its ticks."""
    spec = job.kwargs["spec"]
    artifacts = Path(spec.artifacts)
    lines = records.read(artifacts, spec.name)
    ended, skipped = last_real(lines)
    return Status(
        spec.name, when(spec), next_tick(job, served=served), now(artifacts, spec.name, lines), ended, skipped
    )


def when(spec: Any) -> str:
    """The times of a schedule, e.g. ``every 3600 s``."""
    options = spec.options
    if options.interval:
        return f"every {options.interval:g} s"
    return f"{options.cron} ({options.timezone or 'local time'})"


def next_tick(job: Job, *, served: bool) -> str:
    """``in 3 h 20 min (2026-01-02 03:00:00 CET)``, or why there is none."""
    due = job.next_run_time
    if due is None:
        return f"none: paused (`detpress schedule resume {job.id}`)"
    text = f"{distance(due)} ({local(due)})"
    if not text.startswith("in "):
        text = f"due since {text.replace(' ago', '', 1)}"
    return text if served else f"{text}, but no scheduler runs: start `detpress schedule serve`"


def now(artifacts: Path, name: str, lines: Sequence[Mapping[str, Any]]) -> str:
    """What happens to the schedule at the moment: its stage and when that may be over; ``nothing`` if nothing does."""
    ticks = [tick for tick in records.open_ticks(artifacts) if tick.schedule == name]
    if not ticks:
        lock = records.lock_of(artifacts)
        return f"nothing; another retraining runs here ({locks.holder(lock)})" if locks.held(lock) else "nothing"
    text = "; ".join(_tick(tick) for tick in sorted(ticks, key=lambda tick: tick.state == QUEUED))
    took = usual(lines)
    return f"{text}; the last retraining took {span(took)}" if took is not None else text


def _tick(tick: Tick) -> str:
    if tick.state == WAITING and tick.now.startswith(WAITING):
        return f"{tick.now}, next try {distance(tick.retry_at)}"
    if tick.state != RUNNING or not tick.now.startswith(RUNNING):
        return tick.now
    run = running_run(tick)
    stage = progress.read(run) if run is not None else None
    began = f"since {local(tick.attempt_began)}" if tick.attempt_began else "starting"
    return f"{tick.now} {began}" + (f": {progress.words(stage)}" if stage is not None else "")


def running_run(tick: Tick) -> Path | None:
    """The folder of the run that a tick's process works on, once it has begun one."""
    found = []
    for folder in history.folders(tick.artifacts)[:_NEWEST_RUNS]:
        state = history.read_state(folder)
        if state is None or not is_alive(folder):
            continue
        with contextlib.suppress(ValueError):
            if moment(state.get("started", "")).timestamp() >= tick.attempt_began - _CLOCK_SECONDS:
                found.append((state.get("pipeline") != "retrain", folder))  # one by hand may run beside it
    return min(found, key=lambda pair: pair[0])[1] if found else None


def last_real(lines: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any] | None, int]:
    """The newest line of a tick that ran to its end, and how many were skipped or missed after it."""
    skipped = 0
    for line in reversed(lines):
        if line.get("outcome") in (SKIPPED, MISSED):
            skipped += 1
        elif not line.get("again"):
            return dict(line), skipped
    return None, skipped


def usual(lines: Iterable[Mapping[str, Any]]) -> float | None:
    """Seconds that the last retraining took which came to a verdict; ``None`` if there was none."""
    took = None
    for line in lines:
        if line.get("outcome") in (PROMOTED, KEPT):
            with contextlib.suppress(KeyError, ValueError):
                took = moment(line["ended"]).timestamp() - moment(line["started"]).timestamp()
    return took


def collapsed(lines: Sequence[Mapping[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """The history with a row of skipped ticks of one schedule as one line, the newest, and their number."""
    rows: list[tuple[dict[str, Any], int]] = []
    for line in lines:
        before = rows[-1][0] if rows else {}
        alike = line.get("outcome") == SKIPPED and all(before.get(k) == line.get(k) for k in ("schedule", "outcome"))
        if alike:
            rows[-1] = (dict(line), rows[-1][1] + 1)
        else:
            rows.append((dict(line), 1))
    return rows
