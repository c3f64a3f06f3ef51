"""Results shared through object storage: a local S3 stands for it."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.commands import gc
from pipelines.execution.events import NullObserver
from pipelines.execution.plan import survey
from pipelines.execution.runner import Node, Ref, Results, Runner, RunnerSettings
from pipelines.runs import shared_garbage
from pipelines.store import leases
from pipelines.store.local import Store
from pipelines.store.remote import RemoteStore, open_store
from stages.errors import StoreError, UnavailableError
from tests.conftest import ROOT
from tests.object_storage import local_s3, use
from tests.pipelines.stubs import StubOptions

pytestmark = pytest.mark.slow
STUB = "tests.pipelines.stubs:Stub"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with local_s3() as address:
        yield address


@pytest.fixture
def uri(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A prefix of a bucket of its own."""
    bucket = f"b{zlib.crc32(request.node.name.encode())}"
    use(endpoint, monkeypatch, bucket)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return f"s3://{bucket}/some/prefix"


def nodes(seconds: float = 0.0) -> list[Node]:
    behave = StubOptions(text="a", behave="count", seconds=seconds)
    return [
        Node(id="a", stage=STUB, options=behave),
        Node(id="b", stage=STUB, options=StubOptions(text="b"), inputs={"first": Ref("a")}),
    ]


def run(store: Store, run_id: str = "r", seconds: float = 0.0) -> Results:
    runner = Runner(store, NullObserver(), RunnerSettings(seed=0), logs=store.root / "logs", run_id=run_id)
    return runner.run(nodes(seconds))


def objects(store: RemoteStore) -> list[str]:
    store._fs.invalidate_cache()
    return [path.removeprefix(store._prefix + "/") for path in store._fs.find(store._prefix)]


def test_a_machine_finds_what_another_computed(tmp_path: Path, uri: str) -> None:
    one, two = RemoteStore(tmp_path / "one", uri), RemoteStore(tmp_path / "two", uri)
    assert run(one).cached == set()
    assert [(step.node.id, step.cached) for step in survey(nodes(), two, 0)] == [("a", True), ("b", True)]
    assert not (tmp_path / "two").exists()  # a plan brings nothing
    results = run(two, "s")
    assert results.failures == {}
    assert results.cached == {"a", "b"}
    assert results.artifacts["b"].path("text.txt").read_text() == "b+a"
    assert two.references() == {"s": one.references()["r"], "r": [a.key for a in results.artifacts.values()]}
    assert not [name for name in objects(one) if name.startswith("leases/")]
    key = results.artifacts["a"].key
    third = RemoteStore(tmp_path / "three", uri)
    third.prepare()
    assert third.load(key).path("text.txt").read_text() == "a"
    assert next(record["node"] for record in third.records("stub")) in ("a", "b")


def test_damage_there_is_found_and_mended(tmp_path: Path, uri: str) -> None:
    one = RemoteStore(tmp_path / "one", uri)
    run(one)
    (path,) = [f"{one._prefix}/{name}" for name in objects(one) if name.endswith("starts")]
    one._fs.pipe_file(path, b"7")
    results = run(RemoteStore(tmp_path / "two", uri))
    assert results.cached == {"b"} and "starts" in results.warnings[0] and "not what was stored" in results.warnings[0]
    assert run(RemoteStore(tmp_path / "three", uri)).cached == {"a", "b"}
    # Damage here is mended from there, without computing.
    results.artifacts["b"].path("text.txt").write_text("b+b")
    again = run(RemoteStore(tmp_path / "two", uri))
    assert again.cached == {"a", "b"} and any("was taken from s3://" in line for line in again.warnings)
    assert again.artifacts["b"].path("text.txt").read_text() == "b+a"


def test_a_half_written_entry_is_not_seen(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = RemoteStore(tmp_path / "one", uri)
    real = one._fs.pipe_file

    def cut(path: str, *arguments: object, **fields: object) -> object:
        if path.endswith("entry.json"):
            raise ConnectionError("the cable was pulled")
        return real(path, *arguments, **fields)

    monkeypatch.setattr(one._fs, "pipe_file", cut)
    results = run(one)
    assert results.failures == {} and "the cable was pulled" in results.warnings[0]
    assert [name for name in objects(one) if "entry.json" in name] == []
    monkeypatch.undo()
    two = RemoteStore(tmp_path / "two", uri)
    assert [step.cached for step in survey(nodes(), two, 0)] == [False, False]
    one.prepare()  # the next run sends what could not be sent
    assert [step.cached for step in survey(nodes(), two, 0)] == [True, True]


def _run_on(root: str, uri: str, results: multiprocessing.Queue[tuple[list[str], str]]) -> None:
    leases.POLL_SECONDS = 0.1
    found = run(RemoteStore(Path(root), uri), root, 1.0)
    results.put((sorted(found.cached), found.artifacts["a"].path("starts").read_text()))


def test_two_machines_at_once_compute_once(tmp_path: Path, uri: str) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_run_on, args=(str(tmp_path / n), uri, results)) for n in "ab"]
    for process in processes:
        process.start()
    found = sorted(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(10)
    assert "a" in found[0][0] or "a" in found[1][0]
    assert len(found[0][0]) + len(found[1][0]) == 2  # each of the two stages was taken from the other once
    assert [starts for _, starts in found] == ["1", "1"]


def test_what_another_machine_ends_between_our_look_and_our_claim_is_not_computed_again(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = RemoteStore(tmp_path / "here", uri), RemoteStore(tmp_path / "elsewhere", uri)
    claim = here.claim

    @contextmanager
    def late(*arguments: Any) -> Iterator[None]:
        run(elsewhere)
        with claim(*arguments):
            yield

    monkeypatch.setattr(here, "claim", late)
    results = run(here)
    assert results.cached == {"a", "b"} and results.artifacts["a"].path("starts").read_text() == "1"


def test_a_lost_lease_is_taken_over(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "POLL_SECONDS", 0.02)
    store, told = RemoteStore(tmp_path, uri), list[str]()
    path = f"{store._prefix}/leases/x"
    here = leases.this_process()
    for left, patience in (({**here, "host": "elsewhere"}, 0.3), ({**here, "pid": "999999"}, 1e9)):
        monkeypatch.setattr(leases, "LOST_SECONDS", patience)
        store._fs.pipe_file(path, json.dumps(left).encode())
        begun = time.monotonic()
        with leases.lease(store._fs, path, told.append) as waited:
            assert waited and json.loads(store._fs.cat_file(path))["pid"] == str(os.getpid())
        assert time.monotonic() - begun > 0.3 or patience > 1
        assert not store._fs.exists(path)
    assert len(told) == 2


def test_gc_keeps_what_the_last_runs_of_all_machines_refer_to(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = RemoteStore(tmp_path, uri)
    first = run(store, "20260101-a")
    Runner(store, NullObserver(), RunnerSettings(seed=0), logs=tmp_path / "logs", run_id="20260102-b").run(nodes()[:1])
    a, b = first.artifacts["a"].key, first.artifacts["b"].key
    arguments = ["--keep-last", "1", "--store", uri, "--artifacts", str(tmp_path)]
    assert gc.main(arguments) == 0
    assert set(store.stored()) == {a, b}  # written a moment ago
    monkeypatch.setattr(shared_garbage, "YOUNG_SECONDS", -10.0)
    assert gc.main([*arguments, "--dry-run"]) == 0 and set(store.stored()) == {a, b}
    assert b in capsys.readouterr().out
    assert gc.main([*arguments, "--runs"]) == 0
    assert set(store.stored()) == {a} and list(store.references()) == ["20260102-b"]
    assert run(RemoteStore(tmp_path / "other", uri)).cached == {"a"}


def test_what_cannot_be_used_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((StoreError, UnavailableError), match=r"run\.store"):
        open_store(tmp_path, "nonsense://x")
    for name, value in (("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_ACCESS_KEY_ID", "x")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StoreError, match=r"cannot be used.*run\.store"):
        open_store(tmp_path, "s3://bucket/x").prepare()
