"""Stored results that no kept run refers to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from rich.table import Table

from pipelines.execution.plan import folder_size
from pipelines.runs import history
from pipelines.runs.remembered import REPORT, RUN, require_state
from pipelines.runs.tables import stdout_console
from pipelines.store.local import Store
from pipelines.system.run_lock import LOCK, is_alive
from pipelines.system.units import size
from pipelines.tracking.spool import NAME as SPOOL
from stages.errors import InputError
from stages.outside import records


class BundleRecord(TypedDict):
    """What is read of ``bundles/NAME.json``."""

    run_id: str


@dataclass
class Garbage:
    """What can go, each with its size in bytes."""

    kept: list[str] = field(default_factory=list)
    entries: dict[str, int] = field(default_factory=dict)
    work: dict[str, int] = field(default_factory=dict)
    temporary: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    store_bytes: int = 0
    """Size of the whole store."""

    @property
    def bytes(self) -> int:
        return sum(sum(part.values()) for part in (self.entries, self.work, self.temporary, self.runs))


def garbage(artifacts: Path, keep_last: int, *, runs: bool = False) -> Garbage:
    """What no kept run refers to; nothing is removed.

    Raises:
        InputError: the record of a run or of a bundle cannot be read.
    """
    store = Store(artifacts)
    folders = history.folders(artifacts)
    live = [folder for folder in folders if is_alive(folder)]
    kept = {folder.name for folder in [*folders[:keep_last], *live]} | pinned(artifacts)
    unsent = {folder.name for folder in folders if (folder / SPOOL).exists()}
    of_runs = {folder.name: _entries(folder) for folder in folders}  # of all: none may be unreadable
    used = {key for name in kept for key in of_runs.get(name, [])}
    # A live run records what it made only after it made it.
    begun = min(((folder / LOCK).stat().st_mtime for folder in live), default=float("inf"))
    unused = Garbage(kept=sorted(kept))
    for key in store.names():
        folder = store.entries / key
        count = folder_size(folder)
        unused.store_bytes += count
        if key not in used and folder.stat().st_ctime < begun:
            unused.entries[key] = count
    oldest = min((_begin(folder) for folder in folders if folder.name in kept), default=float("inf"))
    for folder in store.unfinished():
        if max(p.stat().st_mtime for p in [folder, *folder.rglob("*")]) < oldest:
            unused.work[folder.name] = folder_size(folder)
    for folder in store.temporary():
        unused.temporary[folder.name] = folder_size(folder)
    if runs:
        unused.runs = {folder.name: folder_size(folder) for folder in folders if folder.name not in kept | unsent}
    return unused


def collect(artifacts: Path, unused: Garbage) -> dict[str, int]:
    """Remove it; returns what was left because its lock is held."""
    store = Store(artifacts)
    store.prepare()
    busy = {key: count for key, count in unused.entries.items() if not store.remove(key)}
    busy |= {name: count for name, count in unused.work.items() if not store.remove_work(name)}
    swept = {folder.name for folder in store.sweep()}
    busy |= {name: count for name, count in unused.temporary.items() if name not in swept}
    for name in unused.runs:
        shutil.rmtree(artifacts / "runs" / name)
    return busy


def pinned(artifacts: Path) -> set[str]:
    """The runs that a link or a bundle names."""
    return {*_named(artifacts), *_bundled(artifacts)}


def _named(artifacts: Path) -> Iterator[str]:
    runs = artifacts / "runs"
    if runs.is_dir():
        yield from (link.resolve().name for link in runs.iterdir() if link.is_symlink())


def _bundled(artifacts: Path) -> Iterator[str]:
    for path in (artifacts / "bundles").glob("*.json"):
        try:
            record: BundleRecord = records.read(path, BundleRecord)
        except FileNotFoundError as error:
            raise InputError(f"{path} leads nowhere, so nothing is removed: repair it, or remove it") from error
        yield record["run_id"]


def _entries(folder: Path) -> list[str]:
    """What a run refers to. One that has just begun has no ``run.json`` yet, and refers to nothing.

    Raises:
        InputError: its ``run.json`` cannot be read, or is gone although the run was finished.
    """
    if not (folder / RUN).exists() and not (folder / REPORT).exists():
        return []
    try:
        state = require_state(folder, "stages")
    except InputError as error:
        raise InputError(
            f"{error}. It may refer to any result, so nothing is removed: repair {folder / RUN}, or remove the folder "
            f"{folder} if its results may go"
        ) from error
    return [stage["entry"] for stage in state["stages"].values() if stage.get("entry")]


def _begin(folder: Path) -> float:
    """When the run began: its config is the first file it writes, and is never written again."""
    config = folder / "config.yaml"
    return (config if config.is_file() else folder).stat().st_mtime


def show(unused: Garbage) -> None:
    """Print what can go, with sizes."""
    table = Table(box=None, pad_edge=False)
    table.add_column("what")
    table.add_column("name", overflow="fold")
    table.add_column("size", justify="right")
    for what, part in (
        ("result", unused.entries),
        ("checkpoint", unused.work),
        ("left behind", unused.temporary),
        ("run", unused.runs),
    ):
        for name, count in part.items():
            table.add_row(what, name, size(count))
    console = stdout_console(160)
    if table.row_count:
        console.print(table)
    console.print(
        f"{size(unused.bytes)} can go of {size(unused.store_bytes)} in the store; "
        f"kept is what {len(unused.kept)} runs refer to"
    )
