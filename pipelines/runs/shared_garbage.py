"""``detpress gc --store URI``: remove results from a store that machines share.

Each run tells the store what it refers to (``RemoteStore.refer``), so the runs of all machines count. What was written
during the last day stays, whatever refers to it: a run of another machine may be about to.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.runs import history
from pipelines.runs.garbage import Garbage, pinned, show
from pipelines.store.remote import RemoteStore
from pipelines.system.run_lock import is_alive
from pipelines.system.units import size
from stages.errors import ExitCode, InputError

YOUNG_SECONDS = 86400.0


def main(artifacts: Path, uri: str, keep_last: int, *, dry_run: bool, runs: bool) -> int:
    """Show, and unless ``dry_run`` remove, what none of the kept runs refers to."""
    store = RemoteStore(artifacts, uri)
    try:
        unused = garbage(store, keep_last, runs=runs)
    except FileNotFoundError as error:
        raise InputError(f"there is no store at {store.said}; check --store") from error
    show(unused)
    if not dry_run:
        for name in unused.entries:
            store.delete_remote(name)
        for run in unused.runs:
            store.remove_reference(run)
        print(f"removed {size(unused.bytes)}")
    return ExitCode.DONE


def garbage(store: RemoteStore, keep_last: int, *, runs: bool = False) -> Garbage:
    """What can go there; nothing is removed.

    Kept are the last ``keep_last`` runs of all machines, and of this one those that are still running or that a link or
    a bundle names.
    """
    references = store.references()
    live = {folder.name for folder in history.folders(store.root) if is_alive(folder)}
    kept = {*list(references)[:keep_last], *live, *pinned(store.root)} & set(references)
    used = {entry for run in kept for entry in references[run]}
    unused = Garbage(kept=sorted(kept))
    young = store.now() - YOUNG_SECONDS
    for name, (count, written) in sorted(store.stored().items()):
        unused.store_bytes += count
        if name not in used and written < young:
            unused.entries[name] = count
    if runs:
        unused.runs = {run: 0 for run in references if run not in kept}
    return unused
