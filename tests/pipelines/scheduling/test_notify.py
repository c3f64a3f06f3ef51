"""A webhook may answer anything, or nothing: the tick is recorded, and told whole."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.config.options.schedule import NotifyOptions
from pipelines.scheduling import notify as notifying
from pipelines.scheduling import records
from pipelines.scheduling.notify import notify
from tests.pipelines.scheduling.helpers import plan
from tests.pipelines.scheduling.test_tick import tick

ENTRY: dict[str, Any] = {"outcome": "promoted", "schedule": "retrain"}


@contextmanager
def answering(answer: bytes, *, drip: float = 0.0) -> Iterator[str]:
    """A server that answers every request with these bytes, one every ``drip`` seconds if that is given."""
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                peer, _ = server.accept()
            except OSError:
                continue
            with peer:
                try:
                    peer.settimeout(1.0)
                    peer.recv(65536)
                    for part in [answer] if not drip else [answer[i : i + 1] for i in range(len(answer))]:
                        peer.sendall(part)
                        if stop.wait(drip):
                            break
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/hunter2"
        finally:
            stop.set()
            thread.join()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "_PAUSE_SECONDS", 0.01)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff\x1b[2Jnonsense",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 99999 much\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 " + b"a" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000,
        b"HTTP/1.1 500 \x1b]0;title\x07\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \x00://[\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    ],
)
def test_an_answer_that_is_nonsense_is_at_most_a_line(answer: bytes) -> None:
    with answering(answer) as url:
        problems = notify(NotifyOptions(webhook=url, timeout=2.0), ENTRY)
    assert len(problems) <= 1
    for problem in problems:
        assert problem.startswith("schedule.notify: the webhook failed: ")
        assert problem.isprintable() and len(problem) < 300 and "hunter2" not in problem


def test_an_answer_without_an_end_is_given_up() -> None:
    started = time.monotonic()
    with answering(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000, drip=0.2) as url:
        (problem,) = notify(NotifyOptions(webhook=url, timeout=0.5), ENTRY)
    assert "had not ended its answer" in problem
    assert time.monotonic() - started < 100  # the answer alone takes 20 minutes


def test_a_tick_is_recorded_before_anybody_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def told(options: NotifyOptions, body: bytes) -> None:
        seen.append((records.read(tmp_path), records.open_ticks(tmp_path)))
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(notifying, "_send", told)
    plan(tmp_path, outcomes=["promoted"])
    line, said = tick(tmp_path, notify=NotifyOptions(webhook="http://h.test/x"))
    assert seen == [([line], [])]
    assert said[-1] == "retrain: warning: schedule.notify: the webhook failed: nobody foresaw this"
