"""A local store whose folder was moved: MLflow's tables name the place where its files lay."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipelines.config.options.tracking import TrackingOptions
from pipelines.system.output import say

_PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
"""Table -> columns that hold places of files."""
_DEFAULT = "SELECT artifact_location FROM experiments WHERE experiment_id = 0"
"""Of the experiment that MLflow makes first: the folder of all files and ``/0``."""


def follow(path: Path, options: TrackingOptions) -> int:
    """Let the tables of the database ``path`` name the place where the files lie now, if the old one is gone.

    What was put elsewhere by ``tracking.artifact_location`` stays as it is. A store that was copied keeps the place
    of the original, while that is there.

    Returns:
        how many places were changed.
    """
    now = (Path(options.folder).resolve() / "artifacts").as_uri()
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
        before = _before(connection)
        if before is None or before == now or _folder(before).exists():
            return 0
        try:
            with connection:
                return sum(_rewrite(connection, table, before, now) for table in _PLACES)
        except sqlite3.OperationalError as error:
            say(f"note: files of earlier runs are looked for in {_folder(before)}: {error}")
            return 0


def _before(connection: sqlite3.Connection) -> str | None:
    """Where the tables say that the files lie, as a ``file:`` URI."""
    try:
        row = connection.execute(_DEFAULT).fetchone()
    except sqlite3.DatabaseError:  # no tables yet, or no database: who opens it next says so
        return None
    place = str(row[0]) if row else ""
    return place.removesuffix("/0") if place.startswith("file:///") and place.endswith("/0") else None


def _folder(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))


def _rewrite(connection: sqlite3.Connection, table: str, before: str, now: str) -> int:
    there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    changed = 0
    for column in _PLACES[table]:
        if column in there:
            done = connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (now, len(before) + 1, before, len(before) + 1, f"{before}/"),
            )
            changed += done.rowcount
    return changed
