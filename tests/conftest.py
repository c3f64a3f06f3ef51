"""Fixtures that every test may use, and how tests share the machine when several run at once (pytest-xdist)."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from importlib import metadata
from pathlib import Path

import pytest

from stages.processes.signals import put_back
from tests.fakes import FakeContext
from tests.turns import turn

ROOT = Path(__file__).resolve().parents[1]
QUIRKS = ROOT.parent / "shared" / "data" / "quirks"
BCCD = ROOT.parent / "shared" / "data" / "bccd"


# A background job of a script ignores Ctrl-C, one under `nohup` a closed terminal; so would each program that a test
# starts and ends that way. What is ignored is inherited, what has a handler is not; SIGHUP still ends no tests.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)


def _hearers() -> dict[str, object]:
    """Who hears the signals that end a process, and which of them this thread blocks."""
    found: dict[str, object] = {n.name: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    return {**found, "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ())}


@pytest.fixture(autouse=True)
def _signals_are_left_as_they_were() -> Generator[None]:
    """What a test leaves behind would end another one, or all of them, in another order of the files."""
    before = _hearers()
    yield
    left = _hearers()
    signal.pthread_sigmask(signal.SIG_SETMASK, before["blocked"])  # type: ignore[arg-type]
    put_back({signal.Signals[name]: usual for name, usual in before.items() if name != "blocked"})
    assert left == before, "the test leaves signals to others than it found"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: small ones fill what is left at the end."""
    if not _has_paddle():
        for item in items:
            if item.get_closest_marker("paddle"):
                item.add_marker(pytest.mark.skip(reason="needs Paddle's packages, which are not installed"))
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def _has_paddle() -> bool:
    return any(list(metadata.distributions(name=name)) for name in ("paddlepaddle", "paddlepaddle-gpu"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Beside other workers, a test that times something waits until it has the machine for itself."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    shared = Path(item.config.getoption("basetemp")).parent  # that of one worker lies in what is everyone's
    with turn(shared, alone=item.get_closest_marker("timing") is not None):
        return (yield)


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    return FakeContext(tmp_path / "stage")


@pytest.fixture
def bccd() -> Path:
    """Real photographs with labels; they lie beside the checkout, not in it."""
    if not (BCCD / "val.json").is_file():
        pytest.skip(f"needs the BCCD images in {BCCD}")
    return BCCD


@pytest.fixture(scope="session")
def quirks() -> Path:
    """Small inputs as users have them, each odd in one way; they lie beside the checkout, not in it."""
    if not (QUIRKS / "base" / "val.json").is_file():
        pytest.skip(f"needs the small odd inputs in {QUIRKS}")
    return QUIRKS
