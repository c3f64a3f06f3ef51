"""``detpress schedule list``, ``status``, ``history`` and ``logs``, for people or as JSON."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from pipelines.runs.tables import print_list, stdout_console
from pipelines.scheduling import records
from pipelines.scheduling.records import Tick
from pipelines.scheduling.serving import serving
from pipelines.scheduling.status import Status, collapsed, last_real, status, when
from pipelines.system.output import say
from pipelines.system.redact import redact_text
from pipelines.system.times import local
from stages.errors import ExitCode, InputError
from stages.outside.text import plain

if TYPE_CHECKING:
    from apscheduler.job import Job

_COLORS = {"promoted": "green", "failed": "red", "refused": "red", "interrupted": "yellow", "missed": "yellow"}
_POLL_SECONDS = 0.3
_UNSERVED = "no scheduler runs: nothing will be started until `detpress schedule serve` is"


def schedules(jobs: Sequence[Job], folder: Path, *, as_json: bool) -> int:
    """Every schedule of a store: when, its next tick, what it does now, how it ended last."""
    rows = [_row(job) for job in jobs]
    served = serving(folder)
    if as_json:
        print(json.dumps({"schema_version": 1, "served": served, "schedules": rows}, indent=1))
        return ExitCode.DONE
    cells: list[list[str | Text]] = []
    for row in rows:
        last = last_real([line for line in [row["last"]] if line])[0] or row["last"] or {}
        ended = f"{last.get('outcome', '-')} {local(last.get('ended') or last.get('at'))}".strip()
        last_cell = Text(plain(ended), _COLORS.get(last.get("outcome", ""), ""))
        cells.append([row["name"], row["when"], row["next"] or "paused", row["now"] or "-", last_cell])
    if cells:
        print_list(("schedule", "when", "next tick", "now", "last"), cells, stdout_console())
    else:
        print("the store has no schedule")
    if not served:
        print(_UNSERVED)
    return ExitCode.DONE


def _row(job: Job) -> dict[str, Any]:
    spec = job.kwargs["spec"]
    artifacts = Path(spec.artifacts)
    past = records.read(artifacts, spec.name)
    now = [tick for tick in records.open_ticks(artifacts) if tick.schedule == spec.name]
    ended, _ = last_real(past)
    return {
        "name": spec.name,
        "when": when(spec),
        "next": None if job.next_run_time is None else local(job.next_run_time),
        "now": now[-1].now if now else None,
        "last": ended or (past[-1] if past else None),
        "command": [redact_text(part) for part in spec.command],
        "folder": spec.folder,
        "artifacts": spec.artifacts,
    }


def statuses(jobs: Sequence[Job], folder: Path, *, as_json: bool) -> int:
    """What each schedule does now, how it ended last, when it ticks next: a paragraph each."""
    served = serving(folder)
    found = [status(job, served=served) for job in jobs]
    if as_json:
        rows = [one.as_json() for one in found]
        print(json.dumps({"schema_version": 1, "served": served, "schedules": rows}, indent=1))
        return ExitCode.DONE
    print("\n\n".join(map(_paragraph, found)) or "the store has no schedule")
    return ExitCode.DONE


def _paragraph(one: Status) -> str:
    last = "nothing yet"
    if one.last is not None:
        reason = f": {one.last['reason']}" if one.last.get("reason") else ""
        last = f"{one.last.get('outcome')} {local(one.last.get('ended') or one.last.get('at'))}{reason}"
    if one.skipped:
        last += f"; {'since then ' if one.last is not None else ''}skipped ×{one.skipped}"
    width = shutil.get_terminal_size((80, 24)).columns
    lines = [f"{one.name}: {one.when}"]
    for name, text in (("now", one.now), ("last", last), ("next tick", one.next)):
        lines += textwrap.wrap(
            f"  {name:<11}{text}", width, subsequent_indent=" " * 13, break_long_words=False, break_on_hyphens=False
        )
    return "\n".join(lines)


def history(artifacts: Path, schedule: str | None, last: int, *, as_json: bool) -> int:
    """The newest lines of the history, oldest of them first; skipped ticks in a row are one line (not in JSON)."""
    lines = records.read(artifacts, schedule)
    if as_json:
        print(json.dumps({"schema_version": 1, "history": lines[-last:] if last > 0 else []}, indent=1))
        return ExitCode.DONE
    rows = collapsed(lines)[-last:] if last > 0 else []
    if not rows:
        print(f"there is no history under {records.root(artifacts).resolve()}")
        return ExitCode.DONE
    cells: list[list[str | Text]] = []
    for line, count in rows:
        outcome = str(line.get("outcome"))
        again = " (tried again)" if line.get("again") else ""
        shown = Text(plain(outcome) + (f" ×{count}" if count > 1 else ""), _COLORS.get(outcome, ""))
        tried = str(line.get("attempt") or "-")
        ended, why = local(line.get("ended") or line.get("at")), f"{line.get('reason') or ''}{again}"
        cells.append([ended, str(line.get("schedule")), tried, shown, why])
    print_list(("ended", "schedule", "try", "outcome", "why"), cells, stdout_console())
    return ExitCode.DONE


def logs(artifacts: Path, name: str, *, follow: bool) -> int:
    """What the newest retraining of a schedule printed; with ``follow`` until it has ended, its retries included.

    Raises:
        InputError: none is kept.
    """
    ticks = [tick for tick in records.open_ticks(artifacts) if tick.schedule == name]
    log = next((tick.log for tick in ticks if tick.attempt), None) or _kept(artifacts, name)
    if log is None and not (follow and ticks):
        raise InputError(
            f"there is no log of {name} under {records.root(artifacts)}: it has not run yet, or its logs were removed "
            "(schedule.keep_logs)"
        )
    if log is not None:
        say(f"{log}:")
    if not (follow and ticks):
        sys.stdout.write(log.read_text(encoding="utf-8", errors="replace") if log is not None else "")
        return ExitCode.DONE
    try:
        _follow(ticks[0])
    except KeyboardInterrupt:  # who looks goes; the retraining does not
        return ExitCode.DONE
    ended, _ = last_real(records.read(artifacts, name))
    if ended is not None:
        say(f"{name}: {ended.get('outcome')}: {ended.get('reason') or ''}")
    return ExitCode.DONE


def _follow(tick: Tick) -> None:
    """Print what comes until the tick ends, each of its tries from the first that is not printed yet."""
    tick = dataclasses.replace(tick, attempt=max(1, tick.attempt))
    at, is_open = 0, True
    while True:
        at += _print_from(tick.log, at)
        following = dataclasses.replace(tick, attempt=tick.attempt + 1)
        if following.log.is_file():
            _print_from(tick.log, at)  # what it wrote last
            tick, at = following, 0
        elif not is_open:
            return
        else:
            is_open = tick.is_open  # once more after its end: it may have written since
            if is_open:
                time.sleep(_POLL_SECONDS)


def _print_from(log: Path, at: int) -> int:
    """Print a file from its byte ``at``; how many bytes that were."""
    if not log.is_file():
        return 0
    with log.open("rb") as stream:
        stream.seek(at)
        content = stream.read()
    print(content.decode(errors="replace"), end="", flush=True)
    return len(content)


def _kept(artifacts: Path, name: str) -> Path | None:
    """The newest log of a schedule that is still there."""
    for line in reversed(records.read(artifacts, name)):
        if line.get("log") and (path := Path(line["log"])).is_file():
            return path
    return None
