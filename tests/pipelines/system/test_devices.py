"""No two timings at once on a device, across processes too."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pipelines.execution.events import NullObserver
from pipelines.execution.runner import Node, Runner, RunnerSettings
from pipelines.store.local import Store
from pipelines.system.devices import CPU, CUDA, HOST, DeviceLocks, device_of
from stages.errors import StoreError
from tests.conftest import ROOT
from tests.pipelines.stubs import StubOptions


def enters(turn: AbstractContextManager[None], entered: threading.Event) -> threading.Thread:
    def go() -> None:
        with turn:
            entered.set()

    thread = threading.Thread(target=go)
    thread.start()
    return thread


def ignore(message: str) -> None: ...


def test_a_device_has_one_timing_at_a_time_and_others_are_not_kept_waiting(tmp_path: Path) -> None:
    turns, told, second = DeviceLocks(tmp_path, who="run one"), list[str](), threading.Event()
    with turns.timing(CPU, ignore):
        with turns.timing(CUDA, ignore), turns.working(ignore):
            pass
        waiting = enters(DeviceLocks(tmp_path).timing(CPU, told.append), second)
        assert not second.wait(0.2)
        (said,) = told
        assert said.startswith(f"waits for another measurement on cpu: run one (process {os.getpid()}), since 20")
    waiting.join(5)
    assert second.is_set()
    assert (tmp_path / CPU).read_text() == ""  # nobody has it: nobody is named to the next one


def test_a_holder_that_could_not_sign_is_another_measurement(tmp_path: Path) -> None:
    turns, told, second = DeviceLocks(tmp_path), list[str](), threading.Event()
    with turns.timing(CPU, ignore):
        (tmp_path / CPU).write_text("")
        waiting = enters(DeviceLocks(tmp_path).timing(CPU, told.append), second)
        assert not second.wait(0.2)
        assert told == ["waits for another measurement on cpu"]
    waiting.join(5)


def test_a_timing_that_has_the_host_for_itself_waits_for_stages_and_they_for_it(tmp_path: Path) -> None:
    alone, inside, other = DeviceLocks(tmp_path, alone=HOST), threading.Event(), threading.Event()
    with DeviceLocks(tmp_path).timing(CUDA, ignore):  # no stage of another run, and no timing elsewhere either
        timing = enters(alone.timing(CPU, ignore), inside)
        assert not inside.wait(0.2)
        late = enters(DeviceLocks(tmp_path).working(ignore), other)  # it may not slip in before the one that waits
        assert not other.wait(0.2)
    timing.join(5)
    late.join(5)
    assert inside.is_set() and other.is_set()


def _time_one(folder: str, results: multiprocessing.Queue[tuple[float, float]]) -> None:
    with DeviceLocks(folder).timing(CPU, ignore):
        begun = time.monotonic()
        time.sleep(0.1)
        results.put((begun, time.monotonic()))


def test_timings_of_several_processes_do_not_overlap(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_time_one, args=(str(tmp_path), results)) for _ in range(3)]
    for process in processes:
        process.start()
    spans = sorted(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(10)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_the_gpu_is_the_one_that_the_process_sees_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    with DeviceLocks(tmp_path).timing(CUDA, ignore):
        assert {p.name for p in tmp_path.iterdir()} == {"door", "work", "cuda-3"}


@pytest.mark.parametrize(
    ("options", "fingerprint", "device"),
    [
        ({"provider": "cpu"}, {"cpu": "x"}, CPU),
        ({"provider": "cuda"}, {}, CUDA),
        ({"device": "cuda"}, {}, CUDA),
        ({}, {"cpu": "x"}, CPU),
        ({"fp16": True}, {"cpu": "x", "gpu": "H"}, CUDA),
    ],
)
def test_where_an_engine_runs(options: dict[str, object], fingerprint: dict[str, str], device: str) -> None:
    assert device_of(options, fingerprint) == device


def test_a_folder_that_cannot_hold_locks_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StoreError, match=r"run\.locks=FOLDER"),
        DeviceLocks(tmp_path / "file" / "locks").working(ignore),
    ):
        pass


def test_the_runner_takes_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    took: list[str] = []

    class Watched(DeviceLocks):
        def timing(self, device: str, wait: Callable[[str], None]) -> AbstractContextManager[None]:
            took.append(device)
            return super().timing(device, wait)

        def working(self, wait: Callable[[str], None]) -> AbstractContextManager[None]:
            took.append("working")
            return super().working(wait)

    runner = Runner(
        Store(tmp_path),
        NullObserver(),
        RunnerSettings(seed=0),
        logs=tmp_path / "logs",
        devices=Watched(tmp_path / "locks"),
    )
    stub = "tests.pipelines.stubs:Stub"
    nodes = [
        Node(id="a", stage=stub, options=StubOptions(text="a")),
        Node(id="t", stage=stub, options=StubOptions(text="t"), timed=True, device=CUDA),
    ]
    assert runner.run(nodes).failures == {}
    assert took == ["working", CUDA, "working"]
