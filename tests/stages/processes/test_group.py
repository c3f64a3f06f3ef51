"""What the first process of a distillation sees of the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from stages.errors import StageError
from stages.processes.group import ProcessGroup

Start = Callable[..., ProcessGroup]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Peers that first say what they are given."""
    with ExitStack() as stack:

        def begin(*says: dict[str, Any]) -> ProcessGroup:
            requests = [{"says": said} for said in says]
            return stack.enter_context(
                closing(ProcessGroup(requests, [{}] * len(says), tmp_path, "tests.stages.fake_peer"))
            )

        yield begin


def test_all_hear_the_same_and_answer(start: Start) -> None:
    peers = start({"ready": "a"}, {"ready": "b"})
    assert peers.count == 3
    assert peers.hear() == [{"ready": "a"}, {"ready": "b"}]
    peers.tell({"step": 1, "rate": 0.1})
    assert peers.hear() == [{"did": {"step": 1, "rate": 0.1}}] * 2
    assert peers.wait_for(lambda: 7) == 7


def test_one_that_cannot_start_says_why(start: Start) -> None:
    peers = start({"ready": "a"}, {"error": "there is no such file."})
    with pytest.raises(StageError, match=r"process 2 .* ended with exit code 4: there is no such file\. The"):
        peers.hear()


@pytest.mark.timing
def test_one_that_ends_is_noticed_while_this_one_waits(start: Start) -> None:
    peers = start({"ready": "a"}, {"ready": "b"})
    peers.hear()
    peers.tell({"end": 3})
    never = threading.Event()
    began = time.monotonic()
    with pytest.raises(StageError, match=r"process 1 .* ended with exit code 3; what it printed is"):
        peers.wait_for(lambda: never.wait(60))
    never.set()
    assert time.monotonic() - began < 5
    with pytest.raises(StageError, match="ended with exit code 3"):
        peers.tell({"step": 1})


def test_a_broken_connection_is_the_end_of_the_process_behind_it(start: Start) -> None:
    peers = start({"ready": "a"})
    peers.hear()

    def connection() -> None:
        peers.tell({"end": 5})
        raise RuntimeError("connection reset")

    with pytest.raises(StageError, match=r"process 1 .* ended with exit code 5"):
        peers.wait_for(connection)
    alone = start({"ready": "a"})

    def refused() -> None:
        raise RuntimeError("address in use")

    with pytest.raises(StageError, match=r"lost each other \(address in use\)"):
        alone.wait_for(refused)
