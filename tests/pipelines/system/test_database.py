"""A database is whole or absent; a half one is kept aside and told of."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from pipelines.system.database import ensure, locked, set_aside, sqlite_file, sqlite_url, unsynced
from stages.errors import InputError


def whole(connection: sqlite3.Connection, tables: set[str]) -> bool:
    return "last" in tables


def fill(path: Path, *tables: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for table in tables:
            connection.execute(f"CREATE TABLE {table} (x)")
        connection.commit()


def tables(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]


def test_it_is_made_beside_its_place(tmp_path: Path) -> None:
    path, seen = tmp_path / "new/a.db", []

    def make(new: Path) -> None:
        seen.append((new, path.exists(), stat.S_IMODE(new.stat().st_mode)))
        fill(new, "first", "last")

    ensure(path, make, whole, mode=0o600)
    ((new, there, mode),) = seen
    assert (new.parent, there, mode) == (path.parent, False, 0o600)
    assert tables(path) == ["first", "last"] and not new.exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ensure(path, make, whole)
    assert len(seen) == 1


def test_what_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    def make(new: Path) -> None:
        fill(new, "first")
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(sqlite3.OperationalError):
        ensure(path, make, whole)
    assert [p.name for p in tmp_path.iterdir()] == [".a.db.lock"]
    (tmp_path / ".a.db.new").write_bytes(b"of a process that was killed")
    (tmp_path / ".a.db.new-journal").write_bytes(b"and its journal")
    path.touch()  # as an earlier version left it
    ensure(path, lambda new: fill(new, "last"), whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.db.lock", "a.db"]


def test_a_half_one_is_kept_aside_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.db"
    fill(path, "first")
    path.with_name("a.db-wal").write_bytes(b"")
    ensure(path, lambda new: fill(new, "last"), whole)
    (aside,) = tmp_path.glob("a.db.incomplete-????????-??????")
    assert tables(aside) == ["first"] and tables(path) == ["last"]
    assert capsys.readouterr().err == (
        f"note: {path} was left half made by a process that was killed; it is now {aside.name}, and a new one is made\n"
    )
    assert set_aside(path, whole) is None


def test_a_transaction_that_was_cut_off_goes_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    fill(path, "first")
    child = os.fork()
    if child == 0:  # dies in the middle of a write that has reached the file: its journal stays
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO first VALUES (?)", [("x" * 1000,)] * 2000)
        os._exit(0)
    os.waitpid(child, 0)
    assert path.with_name("a.db-journal").stat().st_size
    assert set_aside(path, whole) is not None
    assert not path.exists() and not path.with_name("a.db-journal").exists()
    ensure(path, lambda new: fill(new, "last"), whole)
    assert tables(path) == ["last"]


def test_what_another_makes_or_what_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    fill(path, "first")
    with locked(path):
        assert set_aside(path, whole) is None
    path.write_bytes(b"no database, and somebody's" * 100)
    ensure(path, lambda new: fill(new, "last"), whole)
    assert path.read_bytes().startswith(b"no database")


def test_only_the_new_file_is_not_synced(tmp_path: Path) -> None:
    new, other = tmp_path / "new.db", tmp_path / "other.db"
    new.touch()
    found = {}
    with unsynced(new):
        for path in (new, other):
            engine = create_engine(f"sqlite:///{path}")
            with engine.connect() as connection:
                found[path] = connection.execute(text("PRAGMA synchronous")).scalar()
            engine.dispose()
    assert found == {new: 0, other: 2}


@pytest.mark.parametrize("name", ["a b#(1)数据", "a?b=c", "a%20b", "%3F?%25"])
def test_a_database_may_lie_in_any_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "a.db"
    path.parent.mkdir()
    try:
        url = sqlite_url(path)
    except InputError as error:
        assert "without ? and %" in str(error) and "?" in name
        return
    assert sqlite_file(url) == path
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE first (x)"))
    engine.dispose()
    assert tables(path) == ["first"] and [p.name for p in tmp_path.iterdir()] == [name]


def test_the_file_of_a_url() -> None:
    assert sqlite_file("sqlite:////x/a b.db") == Path("/x/a b.db")
    assert sqlite_file("sqlite:///a.db") == Path("a.db")
    for elsewhere in ("http://h/", "postgresql://h/sqlite:///x", "sqlite://", "sqlite:///:memory:"):
        assert sqlite_file(elsewhere) is None
