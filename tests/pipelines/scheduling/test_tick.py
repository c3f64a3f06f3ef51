"""One tick: its lock, its retries, its deadline, what it tells whom. The runs are real processes."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.config.options.schedule import NotifyOptions
from pipelines.scheduling import records
from pipelines.scheduling.tick import TickRunner
from pipelines.system import locks
from tests.pipelines.scheduling.helpers import plan, spans, spec_for, wait_for


class Receiver(ThreadingHTTPServer):
    """A webhook that keeps what it gets; ``answers`` are its status codes, the last one for good."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.answers = [200]
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append((self.path, dict(self.headers), body))
        code = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        self.send_response(code)
        if code == 302:
            self.send_header("Location", f"{self.server.url}/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def tick(artifacts: Path, **options: Any) -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    return TickRunner(spec_for(artifacts, **options), threading.Event(), said.append).run(), said


@pytest.mark.parametrize(("outcome", "code"), [("promoted", 0), ("kept", 3), ("unchanged", 5), ("refused", 2)])
def test_what_another_try_does_not_change_is_not_tried_again(tmp_path: Path, outcome: str, code: int) -> None:
    plan(tmp_path, outcomes=[outcome])
    line, _ = tick(tmp_path, retries=3)
    assert (line["outcome"], line["exit_code"], line["reason"]) == (outcome, code, "because of run 1")
    assert len(spans(tmp_path)) == 2
    assert records.read(tmp_path) == [line] and records.open_ticks(tmp_path) == []


def test_a_failed_run_is_tried_again_and_both_are_in_the_history(tmp_path: Path) -> None:
    plan(tmp_path, outcomes=["failed", "failed", "promoted"])
    line, said = tick(tmp_path, retries=2)
    assert (line["outcome"], line["attempt"]) == ("promoted", 3)
    assert [(e["outcome"], e.get("again")) for e in records.read(tmp_path)] == [
        ("failed", True),
        ("failed", True),
        ("promoted", None),
    ]
    waits = [text.rsplit(" ", 2)[1] for text in said if "tried again in" in text]
    assert waits == ["0.1", "0.2"]  # twice as long each time


def test_a_run_that_keeps_failing_is_reported(tmp_path: Path, receiver: Receiver) -> None:
    champion = tmp_path / "champion"
    champion.write_text("the one in production")
    plan(tmp_path, outcomes=["failed"])
    line, said = tick(tmp_path, retries=1, notify=NotifyOptions(webhook=receiver.url))
    assert (line["outcome"], line["attempt"]) == ("failed", 2)
    assert [body["outcome"] for _, _, body in receiver.got] == ["failed"]  # once, for the tick
    assert champion.read_text() == "the one in production"
    assert said[-1] == "retrain: failed: because of run 3"


def test_a_program_that_is_not_there_or_dies_says_so(tmp_path: Path) -> None:
    spec = spec_for(tmp_path, retries=0)
    spec.command = ["/nowhere/detpress", "retrain"]
    line = TickRunner(spec, threading.Event(), print).run()
    assert line["outcome"] == "failed" and line["reason"].startswith("cannot start /nowhere/detpress")
    spec.command = ["/bin/sh", "-c", "echo about to die >&2; kill -9 $$"]
    line = TickRunner(spec, threading.Event(), print).run()
    assert (line["outcome"], line["reason"]) == ("failed", "it ended with signal 9: about to die")


def test_an_older_last_json_is_not_taken_for_this_runs(tmp_path: Path) -> None:
    old = tmp_path / "last.json"
    old.write_text(json.dumps({"outcome": "promoted", "exit_code": 0}))
    os.utime(old, (1, 1))
    spec = spec_for(tmp_path, retries=0)
    spec.command = ["/bin/sh", "-c", f"echo {old}; exit 5"]
    assert TickRunner(spec, threading.Event(), print).run()["outcome"] == "unchanged"


def test_a_run_that_heeds_no_sigterm_is_killed_at_the_deadline_with_all_it_started(tmp_path: Path) -> None:
    plan(tmp_path, stubborn=True)
    begun = time.monotonic()
    line, _ = tick(tmp_path, deadline=4.0, grace=0.5, retries=5)
    assert time.monotonic() - begun < 60
    assert line["outcome"] == "failed" and "schedule.deadline=4 s" in line["reason"]
    assert len(spans(tmp_path)) == 1  # not tried again
    grandchild = int((tmp_path / "grandchild").read_text())
    wait_for(lambda: not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == "zombie", "its end")
    assert locks.acquire(records.lock_of(tmp_path)) is not None


def test_a_second_tick_is_skipped_or_waits(tmp_path: Path) -> None:
    plan(tmp_path, outcomes=["unchanged"], seconds=1.5)
    lines: dict[str, dict[str, Any]] = {}

    def run(name: str, **options: Any) -> threading.Thread:
        spec = spec_for(tmp_path, name=name, **options)
        stop = threading.Event()
        thread = threading.Thread(target=lambda: lines.update({name: TickRunner(spec, stop, print).run()}))
        thread.start()
        return thread

    first = run("first")
    wait_for(lambda: spans(tmp_path), "the first run's begin")
    threads = [first, run("skips"), run("waits", overlap="queue")]
    for thread in threads:
        thread.join(60)
    assert lines["skips"]["outcome"] == "skipped" and "schedule first (process" in lines["skips"]["reason"]
    assert lines["first"]["outcome"] == lines["waits"]["outcome"] == "unchanged"
    assert [span["what"] for span in spans(tmp_path)] == ["begin", "end", "begin", "end"]


def test_a_retraining_by_hand_and_a_scheduled_one_share_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = records.lock_of(tmp_path)
    with locks.signed(path):  # as `detpress retrain` does
        line, _ = tick(tmp_path)
        assert line["outcome"] == "skipped" and f"process {os.getpid()}" in line["reason"]
    held = locks.acquire(path)
    assert held is not None
    monkeypatch.setenv(locks.INHERITED, str(held))
    with locks.signed(path):  # what the scheduler handed down counts: it does not wait for itself
        pass
    os.close(held)


def test_the_webhook_gets_json_a_token_from_the_environment_and_a_second_try(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_PATH", "hunter2")
    monkeypatch.setenv("HOOK_TOKEN", "hunter3")
    receiver.answers = [503, 200]
    notify = NotifyOptions(webhook=f"{receiver.url}/$HOOK_PATH", token_env="HOOK_TOKEN")
    _, said = tick(tmp_path, notify=notify)
    (path, headers, body), again = receiver.got
    assert path == again[0] == "/hunter2"
    assert headers["Authorization"] == "Bearer hunter3" and headers["Content-Type"] == "application/json"
    assert (body["schedule"], body["outcome"], body["schema_version"]) == ("retrain", "promoted", 1)
    everything = "\n".join(said) + "".join(
        p.read_text() for p in (tmp_path / "schedule").rglob("*") if p.suffix in (".jsonl", ".json", ".log", ".out")
    )
    assert "hunter" not in everything


def test_a_webhook_that_fails_costs_a_line_and_shows_no_secret(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.answers = [302]
    line, said = tick(tmp_path, notify=NotifyOptions(webhook=f"{receiver.url}/hunter2"))
    assert line["outcome"] == "promoted" and len(receiver.got) == 1  # it did not go where it was sent on to
    assert said[-1] == "retrain: warning: schedule.notify: the webhook failed: it answered 302 Found"
    _, said = tick(tmp_path, notify=NotifyOptions(webhook="http://127.0.0.1:1/hunter2", timeout=1.0))
    assert "the webhook failed" in said[-1] and "hunter2" not in said[-1]
    monkeypatch.delenv("NOT_THERE", raising=False)
    _, said = tick(tmp_path, notify=NotifyOptions(webhook="http://h.test/$NOT_THERE"))
    assert "the environment variable NOT_THERE is not set" in said[-1]


def test_a_program_is_told_on_its_standard_input(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    notify = NotifyOptions(command=["/bin/sh", "-c", f"cat > {told}"], outcomes=["unchanged"])
    plan(tmp_path, outcomes=["promoted", "unchanged"])
    tick(tmp_path, notify=notify)
    assert not told.exists()  # not one of the outcomes that are told
    tick(tmp_path, notify=notify)
    assert json.loads(told.read_text())["outcome"] == "unchanged"
    _, said = tick(
        tmp_path, notify=NotifyOptions(command=["/bin/sh", "-c", "echo no >&2; exit 3"], outcomes=["unchanged"])
    )
    assert said[-1].endswith("the command failed: exit code 3: no")


def test_old_logs_go(tmp_path: Path) -> None:
    for _ in range(3):
        tick(tmp_path, keep_logs=2)
    assert len(list((tmp_path / "schedule" / "logs").glob("*.out"))) == 2
    assert len(list((tmp_path / "schedule" / "logs").glob("*.log"))) == 2


@pytest.mark.parametrize(
    "change",
    [{"id": "../../x"}, {"id": "other"}, {"attempt": "1"}, {"owner": 3}, {"unknown": 1}, {"pid": None}],
    ids=lambda change: next(iter(change)),
)
def test_a_damaged_record_of_a_tick_is_told_and_kept_aside(
    change: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = records.Tick("retrain", tmp_path)
    whole.save()
    damaged = records.root(tmp_path) / "open" / "a.json"
    damaged.write_text(json.dumps({**vars(whole), "artifacts": str(tmp_path), "id": "a", **change}))
    assert [tick.id for tick in records.open_ticks(tmp_path)] == [whole.id]
    said = capsys.readouterr().err
    assert f"{damaged}" in said and next(iter(change)) in said and said.count("\n") == 1
    assert records.open_ticks(tmp_path) and not damaged.exists() and damaged.with_suffix(".damaged").is_file()
