"""How many processes run an engine changes no bit of a result; their errors and their ends are those of one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from stages.accuracy import all_cores
from stages.accuracy.accuracy import Accuracy
from stages.accuracy.all_cores import AllCores
from stages.accuracy.detections import Picture, packed, unpacked
from stages.accuracy.engine_process import EngineProcess
from stages.artifacts import Engine, LabeledSet, Precision, hash_files
from stages.backends.detector import Detector, open_detector
from stages.build.build import Build, BuildInputs
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import DataError, StageCrashed, StageError
from stages.options.accuracy import AccuracyOptions, NmsOptions
from stages.options.backend import BuildOptions
from stages.processes import cores
from tests.conftest import ROOT
from tests.fakes import FakeContext
from tests.stages.accuracy.test_accuracy import Stub
from tests.stages.backends.test_base import build
from tests.stages.engines import exported, real_boxes

COUNT = 41  # the last batch is not full
NMS = NmsOptions()


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Room for three processes, whose start costs nothing; small parts.

    This process has its second part and waits for the event: another one has done a part, or failed.
    """
    monkeypatch.setattr(cores, "allowed_cores", lambda: 3)
    monkeypatch.setattr(cores, "available_memory", lambda: 1 << 40)
    monkeypatch.setattr(all_cores, "worthwhile", lambda left, start: 3)
    monkeypatch.setattr(all_cores, "FIRST", 2)
    monkeypatch.setattr(all_cores, "MOST", 2)
    ready = threading.Event()
    real, here = EngineProcess.detect, AllCores._here

    def detect(self: EngineProcess, pictures: Any) -> Any:
        try:
            return real(self, pictures)
        finally:
            ready.set()

    def waits(self: AllCores, detector: Detector, part: range) -> float | None:
        assert self.processes == 1 or ready.wait(60)
        return here(self, detector, part)

    monkeypatch.setattr(EngineProcess, "detect", detect)
    monkeypatch.setattr(AllCores, "_here", waits)
    return ready


def validation(folder: Path, count: int = COUNT) -> LabeledSet:
    """Images of noise in several sizes, with a box each."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for i in range(count):
        rng, shape = np.random.default_rng(i), (48 + i % 5 * 16, 80, 3)
        cv2.imwrite(str(folder / "images" / f"{i}.png"), rng.integers(0, 255, shape, dtype=np.uint8))
        images.append({"id": 7 * i, "file_name": f"{i}.png", "height": shape[0], "width": 80})
        annotations.append({"id": i + 1, "image_id": 7 * i, "category_id": i % 12, "bbox": [i, 4, 20, 20], "area": 400,
                            "iscrowd": 0})  # fmt: skip
    categories = [{"id": i, "name": name} for i, name in enumerate("abcdefghijkl")]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return LabeledSet(root=folder, files=hash_files(folder, ["annotations.json"]), images_root=str(folder / "images"),
                      images=count, boxes=count, images_digest="", labels=list("abcdefghijkl"))  # fmt: skip


def finding(backend: str, folder: Path, batch: int = 2) -> Engine:
    """An engine that finds boxes."""
    build(backend, Precision.FP32, folder / "can", 1)  # skips where it is not there
    model = exported(folder / "model", Precision.FP32, batch)
    real_boxes(model.path("model.onnx"))
    return Build(BuildOptions(backend=backend)).run(BuildInputs(model=model), FakeContext(folder / "build"))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_files_are_those_of_one_process(backend: str, tmp_path: Path, three: threading.Event) -> None:
    engine, labels = finding(backend, tmp_path), validation(tmp_path / "val")
    found = []
    for allowed in (1, 3):
        context = FakeContext(tmp_path / str(allowed), cores=allowed)
        result = Accuracy(AccuracyOptions()).run(Accuracy.Inputs(engine=engine, validation=labels), context)
        found.append((result.files, json.loads(result.path("accuracy.json").read_text())["detections"]))
        done = [call[0] for call in context.progress_calls]
        assert done == sorted(done) and context.progress_calls[-1][:2] == (COUNT, COUNT)
        assert context.infos == ([f"3 processes ran the {backend} fp32 engine"] if allowed == 3 else [])
        assert context.warnings == []
    assert found[0] == found[1]
    assert found[0][1] > COUNT


def run(
    engine: Engine,
    labels: LabeledSet,
    allowed: int = 3,
    warn: Callable[[str], None] = lambda text: None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Any]:
    pictures = [Picture(f"{labels.images_root}/{i}.png", f"{i}.png") for i in range(labels.images)]
    return AllCores(engine, NMS, pictures, progress=progress, warn=warn).detect(allowed)


def test_the_first_wrong_image_is_told_as_by_one_process(tmp_path: Path, three: threading.Event) -> None:
    engine, labels = finding("onnxruntime", tmp_path, 1), validation(tmp_path / "val")
    for number in (11, 23, 40):
        (Path(labels.images_root) / f"{number}.png").write_bytes(b"no image")
    told = []
    for allowed in (1, 3):
        with pytest.raises(DataError) as error:
            run(engine, labels, allowed)
        told.append(str(error.value))
    assert told[0] == told[1]
    assert "11.png cannot be decoded" in told[0]


def test_an_error_of_the_engine_keeps_its_words_and_class(tmp_path: Path) -> None:
    engine, labels = finding("onnxruntime", tmp_path, 1), validation(tmp_path / "val", 2)
    sidecar = Sidecar.read(engine.path(FILE_NAME))
    process = EngineProcess(1)
    try:
        (engine.root / FILE_NAME).unlink()
        Sidecar(sidecar.input_size, labels=("a", "b"), boxes_output="boxes", scores_output="scores").write(engine.root)
        process.open(engine, NMS)
        with pytest.raises(StageError, match=r"scores 12 classes, its infer_cfg\.yml names 2; export the model again"):
            process.detect([Picture(f"{labels.images_root}/0.png", "0.png")])
    finally:
        process.end()
        process.close()


def test_the_part_of_a_process_that_is_killed_is_done_by_the_others(
    tmp_path: Path, three: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, labels = finding("onnxruntime", tmp_path, 1), validation(tmp_path / "val")
    expected = run(engine, labels, 1)
    real, killed = EngineProcess.detect, threading.Event()

    def dies(self: EngineProcess, pictures: Any) -> Any:
        if not killed.is_set():
            killed.set()
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
        return real(self, pictures)

    monkeypatch.setattr(EngineProcess, "detect", dies)
    monkeypatch.setattr(cores, "allowed_cores", lambda: 2)
    warned: list[str] = []
    found = run(engine, labels, 3, warned.append)
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
    assert len(warned) == 1
    assert "was lost (was killed by signal 9); the others do its part" in warned[0]


def test_a_process_that_cannot_open_the_engine_is_told_and_done_without(
    tmp_path: Path, three: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, labels = finding("onnxruntime", tmp_path, 1), validation(tmp_path / "val")

    def refuses(self: EngineProcess, engine: Engine, nms: NmsOptions) -> None:
        raise StageCrashed("ended with exit code 7")

    def warn(text: str) -> None:
        warned.append(text)
        if len(warned) == 2:
            three.set()

    monkeypatch.setattr(EngineProcess, "open", refuses)
    warned: list[str] = []
    assert len(run(engine, labels, 3, warn)) == COUNT
    assert [("did not start (ended with exit code 7)" in text) for text in warned] == [True, True]


def test_an_interruption_ends_all_processes(
    tmp_path: Path, three: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, labels = finding("onnxruntime", tmp_path, 1), validation(tmp_path / "val")
    made: list[EngineProcess] = []
    real = EngineProcess.__init__

    def remembers(self: EngineProcess, threads: int) -> None:
        real(self, threads)
        made.append(self)

    def stop(done: int) -> None:
        if made and threading.current_thread() is threading.main_thread():
            raise SystemExit(143)

    monkeypatch.setattr(EngineProcess, "__init__", remembers)
    with pytest.raises(SystemExit):
        run(engine, labels, 3, progress=stop)
    assert [process._process.poll() for process in made] == [-signal.SIGKILL] * 2


def test_a_process_ends_when_nobody_asks_any_more() -> None:
    process = EngineProcess(1)
    process.close()
    limit = time.monotonic() + 60
    while process._process.poll() is None and time.monotonic() < limit:
        time.sleep(0.05)
    assert process._process.poll() not in (None, -signal.SIGKILL)


def planned(engine: Engine, allowed: int, seconds: float, images: int = 1000) -> int:
    """How many processes there are for images that take ``seconds`` each, where opening the engine takes one."""
    return 1 + AllCores(engine, NMS, [Picture("", "")] * images, progress=print, warn=print)._others(
        allowed, 1.0, seconds
    )


def test_how_many_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = finding("onnxruntime", tmp_path, 1)
    monkeypatch.setattr(cores, "allowed_cores", lambda: 6)
    monkeypatch.setattr(cores, "available_memory", lambda: None)
    assert [planned(engine, allowed, 1.0) for allowed in (1, 2, 4, 8)] == [1, 2, 4, 6]
    assert [planned(engine, 8, seconds) for seconds in (0.001, 0.003, 0.005, 0.009)] == [1, 1, 2, 4]
    monkeypatch.setattr(cores, "available_memory", lambda: 3 << 30)
    monkeypatch.setattr(cores, "peak_memory", lambda: 1 << 30)
    assert planned(engine, 8, 1.0) == 3
    monkeypatch.setattr(cores, "available_memory", lambda: 1 << 29)
    assert planned(engine, 8, 1.0) == 1
    monkeypatch.setattr(cores, "available_memory", lambda: None)
    assert planned(Engine(**{**vars(engine), "options": {"threads": 2}}), 8, 1.0) == 3
    assert planned(Engine(**{**vars(engine), "options": {"provider": "cuda"}}), 8, 1.0) == 1


def test_a_backend_that_does_not_say_that_it_can_is_run_by_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = finding("onnxruntime", tmp_path, 1)
    monkeypatch.setattr(cores, "allowed_cores", lambda: 6)
    monkeypatch.setattr(all_cores.backends, "get", lambda name: Stub(lambda image: (np.zeros(1), np.zeros(1))))
    assert planned(engine, 6, 1.0) == 1


def test_rows_cross_over_bit_for_bit(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    for given in (rows, rows[:0], rows[::-1]):
        assert unpacked(packed(given)).tobytes() == np.ascontiguousarray(given).tobytes()
        assert unpacked(packed(given)).shape == given.shape
    with pytest.raises(TypeError, match="float64"):
        packed(rows.astype(np.float64))  # type: ignore[arg-type]


def test_the_stand_in_finds_something(tmp_path: Path) -> None:
    engine, labels = finding("onnxruntime", tmp_path, 1), validation(tmp_path / "val", 3)
    with open_detector(engine, NMS):
        assert all(len(rows) for rows in run(engine, labels, 1))


def test_further_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    script = (
        "import os, signal; from stages.accuracy.engine_process import EngineProcess\n"
        "if __name__ == '__main__':\n"
        "    process = EngineProcess(1); print(process._process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    limit = time.monotonic() + 60
    while psutil.pid_exists(int(done.stdout)) and psutil.Process(int(done.stdout)).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.mark.paddle
def test_engines_of_paddle_find_the_same_in_two_processes(tmp_path: Path) -> None:
    """Other parts, other processes; the one-process path is such a process too, as Paddle is loaded in workers only."""
    engine, labels = build("paddle_inference", Precision.INT8, tmp_path), validation(tmp_path / "val", 4)
    pictures = [Picture(f"{labels.images_root}/{i}.png", f"{i}.png") for i in range(4)]
    found = []
    for parts in ([pictures], [pictures[:1], pictures[1:]]):
        process = EngineProcess(1)
        try:
            process.open(engine, NMS)
            found.append([rows.tobytes() for part in parts for rows in process.detect(part)])
        finally:
            process.end()
            process.close()
    assert found[0] == found[1]
    assert len(found[0]) == 4 and all(found[0])
