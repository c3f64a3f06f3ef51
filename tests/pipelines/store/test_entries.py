"""Records of stored results: served for the key that they were made for, and for no other; never written elsewhere."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.execution.events import NullObserver
from pipelines.execution.runner import Node, Results, Runner, RunnerSettings
from pipelines.store.entries import Key
from pipelines.store.local import Store
from pipelines.store.remote import RemoteStore
from stages.artifacts import sha256_of
from stages.errors import StoreError
from tests.pipelines.stored_runs import stored
from tests.pipelines.stubs import StubOptions

STUB = "tests.pipelines.stubs:Stub"


def change(folder: Path, act: Callable[[dict[str, Any]], Any]) -> None:
    record = json.loads((folder / "entry.json").read_text())
    act(record)
    (folder / "entry.json").write_text(json.dumps(record))


def test_entries_whose_folders_were_exchanged_are_not_served(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, two = (store.entries / stored(tmp_path, text) for text in "ab")
    one.rename(tmp_path / "aside")
    two.rename(one)
    (tmp_path / "aside").rename(two)
    for text in "ab":
        with pytest.raises(StoreError, match="it was moved"):
            store.find(Key("stub", {"text": text}))
    assert store.records("stub") == []


def test_an_entry_that_names_another_key_than_its_parts_make_is_not_served(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.entries / stored(tmp_path, "a")
    change(folder, lambda record: record["parts"].update(text="b"))
    with pytest.raises(StoreError, match="its parts are not those that its key"):
        store.find(Key("stub", {"text": "a"}))


@pytest.mark.parametrize(
    "act",
    [
        lambda record: record.pop("parts"),
        lambda record: record.update(seconds="long"),
        lambda record: record.update(metrics=[3]),
        lambda record: record.update(artifact=[]),
        lambda record: record["artifact"].update(files=["a"]),
        lambda record: record["artifact"].update({"files": {"../../../x": "0" * 64}}),
        lambda record: record["artifact"].update({"$type": "Path"}),
        lambda record: record["artifact"].update({"$type": 3}),
        lambda record: record.update(schema=[]),
    ],
)
def test_a_damaged_record_is_computed_again(act: Callable[[dict[str, Any]], Any], tmp_path: Path) -> None:
    store, node = Store(tmp_path), Node(id="a", stage=STUB, options=StubOptions(text="a"))

    def run() -> Results:
        return Runner(store, NullObserver(), RunnerSettings(seed=0), logs=tmp_path / "logs").run([node])

    first = run()
    change(store.entries / first.artifacts["a"].key, act)
    again = run()
    assert again.failures == {} and again.cached == set()
    assert [w for w in again.warnings if "computed again" in w], again.warnings
    assert run().cached == {"a"}


def shared(tmp_path: Path) -> tuple[RemoteStore, str, Path]:
    """A store that shares another's, the name of the one entry there, and its folder."""
    other, mine = Store(tmp_path / "other"), RemoteStore(tmp_path / "mine", f"file://{tmp_path / 'shared'}")
    entry = stored(tmp_path / "other", "a")
    mine.prepare()
    there = tmp_path / "shared" / "store" / entry
    there.parent.mkdir(parents=True)
    (other.entries / entry).rename(there)
    return mine, entry, there


@pytest.mark.parametrize("name", ["../../x", "{root}/x", "..", "a/../../../x"])
def test_a_shared_entry_writes_nowhere_but_into_its_folder(name: str, tmp_path: Path) -> None:
    """Whoever may write into a bucket does not own the accounts of those who read it."""
    mine, entry, there = shared(tmp_path)
    (there / "files").rename(there / "attempt")
    planted = name.format(root=tmp_path)
    (there / "x").write_text("planted")
    digest = sha256_of(there / "x")
    change(there, lambda r: (r.update(attempt="attempt"), r["artifact"]["files"].update({planted: digest})))
    before = sorted(tmp_path.rglob("*"))
    for ask in (lambda: mine.find(Key("stub", {"text": "a"})), lambda: mine.load(entry)):
        with pytest.raises(StoreError, match=r"the record of stub/.*: files.* leads out of its folder: refused"):
            ask()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("attempt", ["../other", "/tmp", "a/b", None, 3])
def test_the_folder_of_a_shared_entrys_files_is_one_of_its_own(attempt: Any, tmp_path: Path) -> None:
    mine, _, there = shared(tmp_path)
    change(there, lambda record: record.update(attempt=attempt))
    with pytest.raises(StoreError, match="attempt"):
        mine.find(Key("stub", {"text": "a"}))


@pytest.mark.parametrize("name", ["../../x", "/x", "a", "a/b/c", ".tmp/a"])
def test_a_name_that_a_run_or_a_machine_wrote_leads_to_an_entry_or_nowhere(name: str, tmp_path: Path) -> None:
    stored(tmp_path, "a")
    for ask in (Store(tmp_path).load, Store(tmp_path).remove):
        with pytest.raises(StoreError, match="refused"):
            ask(name)


def test_stray_files_in_the_store_stop_nothing(tmp_path: Path) -> None:
    store, name = Store(tmp_path), stored(tmp_path, "a")
    for folder in (store.entries / ".tmp", store.entries, store.entries / "stub", store.works):
        (folder / ".nfs0000000123").touch()
        (folder / ".DS_Store").touch()
        (folder / "notes").mkdir()
        (folder / ".Trashes").mkdir()
    (store.entries / ".tmp" / "link-a-b").symlink_to(tmp_path)
    left = store.begin(Key("stub", {"text": "b"})).folder
    assert store.sweep() == [left]
    assert name in store.names() and not [found for found in store.names() if "." in found]


def test_who_waits_for_a_key_is_told_of_the_run_that_has_it(tmp_path: Path) -> None:
    store, key, told = Store(tmp_path), Key("stub", {"text": "a"}), list[str]()
    store.prepare()

    def second() -> None:
        with Store(tmp_path).lock(key, told.append, "run two"):
            told.append("has it")

    waiting = threading.Thread(target=second)
    with store.lock(key, told.append, "run one"):
        waiting.start()
        limit = time.monotonic() + 30
        while not told and time.monotonic() < limit:
            time.sleep(0.01)
        (said,) = told
        assert said.startswith(f"waits for run one (process {os.getpid()}), since 20")
        assert said.endswith(", which computes the same")
        assert not store.remove(str(key))  # whoever only asks does not wipe the name off
        assert "run one" in (store.entries / ".locks" / str(key).replace("/", "-")).read_text()
    waiting.join(30)
    assert told[1:] == ["has it"]
