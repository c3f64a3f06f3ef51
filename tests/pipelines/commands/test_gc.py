"""What of a store can go, and what runs, links and bundles keep."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipelines.commands import gc
from pipelines.runs.garbage import collect, garbage
from pipelines.runs.history import folders
from pipelines.store.entries import Key
from pipelines.store.local import Store
from pipelines.system.run_lock import alive
from stages.errors import InputError
from tests.pipelines.stored_runs import remembered, stored


def test_gc_keeps_what_runs_links_bundles_and_live_runs_refer_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, shared, new, aliased, bundled, live = (stored(tmp_path, text) for text in "abcdef")
    remembered(tmp_path, "1", old, shared)
    remembered(tmp_path, "2", aliased)
    remembered(tmp_path, "3", bundled)
    going = remembered(tmp_path, "4", live, status="RUNNING")
    remembered(tmp_path, "5", shared, new)
    (tmp_path / "runs" / "best").symlink_to("2")
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "b.json").write_text(json.dumps({"run_id": "3"}))
    store = Store(tmp_path)
    with alive(going):
        later = stored(tmp_path, "g")  # of the live run, which has not written it down yet
        assert gc.main(["--keep-last", "1", "--dry-run", "--artifacts", str(tmp_path)]) == 0
        assert old in capsys.readouterr().out
        assert set(store.names()) == {old, shared, new, aliased, bundled, live, later}
        assert gc.main(["--keep-last", "1", "--artifacts", str(tmp_path)]) == 0
        assert set(store.names()) == {shared, new, aliased, bundled, live, later}
    assert "removed" in capsys.readouterr().out
    gc.main(["--keep-last", "1", "--artifacts", str(tmp_path)])
    assert set(store.names()) == {shared, new, aliased, bundled}
    assert len(folders(tmp_path)) == 5
    gc.main(["--keep-last", "1", "--runs", "--artifacts", str(tmp_path)])
    assert [folder.name for folder in folders(tmp_path)] == ["5", "3", "2"]


def test_gc_removes_old_checkpoints_and_what_killed_runs_left(tmp_path: Path) -> None:
    stored(tmp_path, "a")
    store = Store(tmp_path)
    stale, fresh, busy = (store.begin(Key("stub", {"n": n})) for n in range(3))
    for pending in (stale, fresh, busy):
        (pending.work / "checkpoint").write_text("x")
    for path in (stale.work, stale.work / "checkpoint"):
        os.utime(path, (1, 1))
    remembered(tmp_path, "1")
    for pending in (fresh, busy):
        os.utime(pending.work, (2**31, 2**31))
    with store.lock(busy.key):
        found = garbage(tmp_path, 1)
        assert list(found.work) == [stale.work.name]
        assert set(found.temporary) == {p.folder.name for p in (stale, fresh, busy)}
        assert list(collect(tmp_path, found)) == [busy.folder.name]
    assert not stale.work.exists() and fresh.work.exists() and busy.folder.exists()


def test_gc_wants_to_know_how_many_and_where(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--artifacts"):
        gc.main(["--keep-last", "1", "--artifacts", str(tmp_path)])
    with pytest.raises(SystemExit):
        gc.main([])
