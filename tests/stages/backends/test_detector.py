"""The one loop from images to detections: batches, padding, order, raw outputs, progress."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stages import backends
from stages.artifacts import Engine, Precision
from stages.backends.base import Available, Unavailable
from stages.backends.detector import open_detector
from stages.detection.images import read_image
from stages.detection.inference import ImageRunner, RawOutputs
from stages.detection.nms import multiclass_nms
from stages.detection.sidecar import Sidecar
from stages.errors import DataError, UnavailableError
from stages.options.accuracy import NmsOptions
from stages.options.backend import BackendOptions
from tests.stages.accuracy.test_accuracy import SIZE, engine
from tests.stages.backends.test_base import build

SHAPES = [(80, 120), (40, 60), (80, 60), (20, 30), (40, 120)]
"""Height and width of the pictures; picture ``i`` is of the grey value 10 * (i + 1), by which a network knows it."""
NMS = NmsOptions(score_threshold=0.1)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = [tmp_path / f"{i}.png" for i in range(len(SHAPES))]
    for i, (path, shape) in enumerate(zip(found, SHAPES, strict=True)):
        cv2.imwrite(str(path), np.full((*shape, 3), 10 * (i + 1), np.uint8))
    return found


class Network:
    """Finds in picture ``i`` one box over the whole of it, with the score (i + 1) / 10."""

    def __init__(self, *, broken: int | None = None) -> None:
        self.broken = broken
        self.runs: list[list[int]] = []
        self.feeds: list[Mapping[str, Any]] = []

    def infer(self, feeds: Mapping[str, Any]) -> list[np.ndarray]:
        numbers = [round(float(image.mean()) / 10) - 1 for image in feeds["image"]]
        self.runs.append(numbers)
        self.feeds.append(feeds)
        boxes, scores = np.zeros((len(numbers), 3, 4), np.float32), np.zeros((len(numbers), 2, 3), np.float32)
        for row, number in enumerate(numbers):
            height, width = SHAPES[number] if "scale_factor" in feeds else SIZE
            boxes[row, 0] = 0, 0, width, height
            scores[row, 1, 0] = np.nan if number == self.broken else (number + 1) / 10
        return [boxes, scores]


def runner(network: Network, folder: Path, **changes: Any) -> ImageRunner:
    model = engine(folder / "engine", **changes)
    return ImageRunner(model, Sidecar.read(model.root / "infer_cfg.yml"), network.infer, model.batch)


def numbers(outputs: list[RawOutputs]) -> list[int]:
    return [round(float(seen.scores[1, 0]) * 10) - 1 for seen in outputs]


def test_images_come_in_order_and_the_last_batch_is_filled_up(paths: list[Path], tmp_path: Path) -> None:
    network = Network()
    outputs = list(runner(network, tmp_path, batch=2).over(paths))
    assert network.runs == [[0, 1], [2, 3], [4, 4]]
    assert numbers(outputs) == [0, 1, 2, 3, 4]
    assert all(np.array_equal(seen.image, read_image(path)) for seen, path in zip(outputs, paths, strict=True))
    network.runs.clear()
    assert numbers(list(runner(network, tmp_path / "b", batch=2).over(paths[::-1]))) == [4, 3, 2, 1, 0]
    assert network.runs == [[4, 3], [2, 1], [0, 0]]


def test_one_at_a_time_stands_beside_itself_only(paths: list[Path], tmp_path: Path) -> None:
    network = Network()
    assert numbers(list(runner(network, tmp_path, batch=3).over(paths[:2], together=1))) == [0, 1]
    assert network.runs == [[0, 0, 0], [1, 1, 1]]


def test_no_images_are_no_runs(tmp_path: Path) -> None:
    network = Network()
    told: list[int] = []
    assert list(runner(network, tmp_path, batch=2).over([], told.append)) == []
    assert (network.runs, told) == ([], [])


@pytest.mark.parametrize("scale_factor", [True, False])
def test_boxes_are_in_pixels_of_the_image(paths: list[Path], tmp_path: Path, scale_factor: bool) -> None:
    network = Network()
    outputs = list(runner(network, tmp_path, batch=2, scale_factor=scale_factor).over(paths))
    assert [seen.boxes[0].tolist() for seen in outputs] == [[0, 0, width, height] for height, width in SHAPES]
    for feeds in network.feeds:
        assert set(feeds) == ({"image", "scale_factor"} if scale_factor else {"image"})
        assert feeds["image"].shape == (2, 3, *SIZE) and feeds["image"].dtype == np.float32
    if scale_factor:
        assert network.feeds[0]["scale_factor"].tolist() == [[0.5, 0.5], [1, 1]]  # (y, x), of 80x120 and of 40x60


def test_raw_outputs_are_there_before_nms(paths: list[Path], tmp_path: Path) -> None:
    one = runner(Network(), tmp_path, batch=2)
    for seen in one.over(paths):
        assert seen.boxes.shape == (3, 4) and seen.scores.shape == (2, 3) and seen.finite
        assert np.array_equal(seen.detections(NMS), multiclass_nms(seen.boxes, seen.scores, NMS))
    (alone,) = one.run([read_image(paths[2])])
    assert alone.detections(NMS).tolist() == [[1, np.float32(0.3), 0, 0, 60, 80]]


def test_only_the_image_with_no_number_is_not_finite(paths: list[Path], tmp_path: Path) -> None:
    outputs = list(runner(Network(broken=2), tmp_path, batch=2).over(paths))
    assert [seen.finite for seen in outputs] == [True, True, False, True, True]


def test_progress_is_told_when_a_runs_outputs_have_been_taken(paths: list[Path], tmp_path: Path) -> None:
    events: list[Any] = []
    for seen in runner(Network(), tmp_path, batch=2).over(paths, events.append):
        events.append(f"image {numbers([seen])[0]}")
    assert events == ["image 0", "image 1", 2, "image 2", "image 3", 4, "image 4", 5]


def test_an_image_that_cannot_be_read_stops_at_its_place(paths: list[Path], tmp_path: Path) -> None:
    paths[3].unlink()
    found: list[RawOutputs] = []
    with pytest.raises(DataError, match=r"3\.png cannot be read"):
        found.extend(runner(Network(), tmp_path, batch=1).over(paths))
    assert numbers(found) == [0, 1, 2]


def test_whoever_has_seen_enough_leaves_no_reader_behind(paths: list[Path], tmp_path: Path) -> None:
    network = Network()
    walk = runner(network, tmp_path, batch=1).over(paths * 10)
    assert numbers([next(walk)]) == [0]
    assert any(thread.name == "loader" for thread in threading.enumerate())
    walk.close()
    assert not any(thread.name == "loader" for thread in threading.enumerate())
    assert network.runs == [[0]]


# --- an engine ------------------------------------------------------------------------------------------------


class Stub:
    """A backend of `Network`; it notes what is asked of it."""

    def __init__(self, state: Available | Unavailable) -> None:
        self.state, self.calls = state, list[str]()

    def availability(self, options: BackendOptions | None = None) -> Available | Unavailable:
        return self.state

    def prepare(self) -> None:
        self.calls.append("prepare")

    @contextmanager
    def open(self, engine: Engine) -> Iterator[Network]:
        self.calls.append("open")
        yield Network()
        self.calls.append("close")


def test_an_engine_is_opened_once_and_closed(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = Stub(Available("here"))
    monkeypatch.setattr(backends, "get", lambda name: {"stub": stub}[name])
    with open_detector(engine(tmp_path / "engine", batch=2), NMS) as detector:
        over = [seen.detections(detector.nms) for seen in detector.runner.over(paths)]
        called = [seen.detections(NMS) for seen in detector.runner.run([read_image(path) for path in paths[:2]])]
    assert stub.calls == ["prepare", "open", "close"]
    assert [found.tolist() for found in called] == [found.tolist() for found in over[:2]]
    assert detector.as_json(over[4])[0] == {"class": 1, "label": "bee", "score": 0.5, "box": [0.0, 0.0, 120.0, 40.0]}


def test_an_engine_that_cannot_run_here_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub(Unavailable("no such chip"))
    monkeypatch.setattr(backends, "get", lambda name: stub)
    with (
        pytest.raises(UnavailableError, match="stub is unavailable: no such chip"),
        open_detector(engine(tmp_path / "engine"), NMS),
    ):
        pass
    assert stub.calls == []


def test_a_real_engine_finds_the_same_in_files_as_in_images(paths: list[Path], tmp_path: Path) -> None:
    loose = NmsOptions(score_threshold=0.0)
    with open_detector(build("onnxruntime", Precision.INT8, tmp_path, batch=2, tune=False), loose) as detector:
        over = [seen.detections(loose) for seen in detector.runner.over(paths)]
        pictures = [read_image(path) for path in paths]
        runs = [detector.runner.run(pictures[start : start + 2]) for start in (0, 2, 4)]
        called = [seen.detections(loose) for run in runs for seen in run]
    assert len(over) == len(paths) and all(len(found) for found in over)
    assert all(np.array_equal(one, other) for one, other in zip(over, called, strict=True))
