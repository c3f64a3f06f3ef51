"""The runs of an artifacts folder: what their ``run.json`` says, which of them still live, which were killed.

A live run holds a lock on ``RUN_DIR/.running``. The lock goes with its process, however that ends, so neither process
ids nor clocks are needed to tell that a run is over.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

from pipelines.config.keys import close_to, suggestion
from pipelines.runs.remembered import RunState as RunState
from pipelines.runs.remembered import StageState as StageState
from pipelines.runs.remembered import read_report as read_report
from pipelines.runs.remembered import read_state as read_state
from pipelines.system.files import write_text
from pipelines.system.run_lock import LOCK, is_alive
from stages.errors import InputError

RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"
_STAMP = len("20260101-101500")  # what a run's id begins with


_SHORT = 4  # characters of a run's id that are drawn at random, its last
_NAMED = 5  # runs that an error names

_RECENT = 100
"""How many runs back an interrupted one, or one with the same config, is looked for."""


def mark_killed(artifacts: Path) -> list[str]:
    """Let the ``run.json`` of runs whose process is gone say KILLED; returns their ids."""
    killed: list[str] = []
    for lock in sorted((artifacts / "runs").glob(f"*/{LOCK}")):
        folder = lock.parent
        if folder.is_symlink() or is_alive(folder):
            continue
        state = read_state(folder)
        if state is None:
            continue  # it has just begun
        if state.get("status") == RUNNING:
            write_text(folder / "run.json", json.dumps({**state, "status": KILLED}, indent=1))
            killed.append(folder.name)
        lock.unlink(missing_ok=True)
    return killed


def folders(artifacts: Path) -> list[Path]:
    """The runs' folders, newest first."""
    names, runs = _ids(artifacts), artifacts / "runs"
    at_once = Counter(name[:_STAMP] for name in names)
    keys = {name: (name[:_STAMP], _begun(runs / name) if at_once[name[:_STAMP]] > 1 else 0, name) for name in names}
    return [runs / name for name in sorted(names, key=keys.__getitem__, reverse=True)]


def _begun(run_dir: Path) -> int:
    """Nanoseconds: when the run wrote its config, which it does once. Ids have seconds only, and end at random."""
    try:
        return (run_dir / "config.yaml").stat().st_mtime_ns
    except OSError:
        return 0


def last_with(artifacts: Path, pipeline: str, digest: str) -> RunState | None:
    """The newest run of the same pipeline and config."""
    for folder in folders(artifacts)[:_RECENT]:
        state = read_state(folder)
        if state and state.get("pipeline") == pipeline and state.get("config_digest") == digest:
            return state
    return None


def interrupted(artifacts: Path, pipeline: str, digest: str) -> str | None:
    """The id of the run that a new one continues: the newest of the same config, if it was killed."""
    state = last_with(artifacts, pipeline, digest)
    return state["run_id"] if state and state.get("status") == KILLED and "run_id" in state else None


def find_run(run: str, artifacts: Path) -> Path:
    """The folder of ``run``: a path, an id under ``artifacts/runs`` or its end as `short_ids` has it, or ``latest``.

    Raises:
        InputError: there is none, or several end like that.
    """
    runs = artifacts / "runs"
    for folder in (runs / run, Path(run)):
        if folder.is_dir():
            return folder
    ending = ending_in(run, artifacts)
    if len(ending) == 1:
        return runs / ending[0]
    if ending:
        some = ", ".join(ending[:_NAMED]) + (", ..." if len(ending) > _NAMED else "")
        raise InputError(f"{run} fits {len(ending)} runs; write more of the id: {some}")
    known = sorted(_ids(artifacts), reverse=True)
    if not known:
        raise InputError(f"there are no runs under {runs.resolve()}; name their folder with --artifacts DIR")
    raise InputError(f"there is no run {run}{suggestion(close_to(run, known))} ({len(known)} under {runs})")


def ending_in(text: str, artifacts: Path) -> list[str]:
    """The ids of the runs that end in ``text``, newest first; none for a text that is too short to name a run."""
    if len(text) < _SHORT:
        return []
    return sorted((name for name in _ids(artifacts) if name.endswith(text)), reverse=True)


def short_ids(artifacts: Path) -> dict[str, str]:
    """Id of each run of a folder -> its shortest end that no other run has, as `find_run` takes it."""
    names = _ids(artifacts)
    short: dict[str, str] = {}
    left, parts = names, 0
    while left:
        # The last four characters, which are drawn at random; where they meet, whole parts before them too.
        ends = {name: name[-_SHORT:] if not parts else "-".join(name.split("-")[-1 - parts :]) for name in left}
        count = Counter(ends.values())
        alone = {name: end for name, end in ends.items() if count[end] == 1 or end == name}
        short |= alone
        left, parts = [name for name in left if name not in alone], parts + 1
    return short


def _ids(artifacts: Path) -> list[str]:
    """The names of the runs' folders, links left out."""
    runs = artifacts / "runs"
    if not runs.is_dir():
        return []
    with os.scandir(runs) as entries:  # the quickest way with thousands of them
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
