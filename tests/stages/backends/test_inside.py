"""An engine that does NMS and the normalisation of pixels itself finds what one finds that does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages import backends
from stages.artifacts import Engine, ExportedModel, Precision, hash_files
from stages.backends.base import Available, BuildsInside, Unavailable
from stages.backends.detector import open_detector
from stages.build.build import Build, BuildInputs
from stages.codec import artifact_from_json, to_json
from stages.detection.images import read_image
from stages.detection.inference import ImageRunner, feeds_for
from stages.detection.preprocess import Pixels
from stages.detection.sidecar import Sidecar
from stages.errors import StageError, UnavailableError
from stages.latency.timed_engine import Setup, open_timed_engine
from stages.options.accuracy import NmsOptions
from stages.options.backend import BackendOptions, BuildOptions
from stages.options.export import Inside
from tests.fakes import FakeContext
from tests.stages.backends.test_base import PADDLE
from tests.stages.engines import exported, real_boxes, unlabeled
from tests.stages.paddle.run_engine import run_elsewhere
from tests.stages.qdq import Array
from tests.stages.workers import Worker

NMS = NmsOptions(score_threshold=0.2, keep_top_k=1000)
CAN = [(Inside(NMS), "nms"), (Inside(None, True), "pixels"), (Inside(NMS, True), "both")]


def model(folder: Path, precision: Precision, batch: int = 1, paddle: bool = False) -> ExportedModel:
    made = exported(folder, precision, batch, paddle=paddle)
    if not paddle:
        real_boxes(made.root / "model.onnx")
    return dataclasses.replace(made, files=hash_files(made.root))


def build(backend: str, of: ExportedModel, folder: Path, inside: Inside | None) -> Engine:
    options: dict[str, Any] = {"tune": False} if backend == "onnxruntime" else {}
    return Build(BuildOptions(backend, options, inside)).run(BuildInputs(of), FakeContext(folder))


def ordered(found: Array) -> Array:
    """Rows in an order that does not hang on which of two equal scores comes first."""
    rounded = found.round(3)
    return found[np.lexsort((*rounded[:, 2:].T, rounded[:, 0], -rounded[:, 1]))]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("inside", [pytest.param(inside, id=name) for inside, name in CAN])
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_it_finds_what_an_engine_finds_that_does_not(
    name: str, inside: Inside, precision: Precision, batch: int, tmp_path: Path
) -> None:
    if isinstance(state := backends.get(name).availability(), Unavailable):
        pytest.skip(str(state))
    of = model(tmp_path / "model", precision, batch)
    images = unlabeled(tmp_path / "images")
    paths = sorted(images.root.glob("*.png"))
    found = {}
    for key, own in (("outside", None), ("inside", inside)):
        engine = build(name, of, tmp_path / key, own)
        assert engine.inside == own
        with open_detector(engine, NMS) as opened:
            found[key] = [seen.detections(NMS) for seen in opened.runner.over(paths)]
    step = 0.06 if precision is Precision.INT8 and inside.preprocess else 1e-4  # a pixel may round to the next step
    for one, other in zip(found["outside"], found["inside"], strict=True):
        assert len(one) > 10
        if step == 1e-4:
            assert one.shape == other.shape and np.abs(ordered(one) - ordered(other)).max() <= step
        else:
            assert abs(len(one) - len(other)) <= 0.1 * len(one) and np.abs(one[:5, 1] - other[:5, 1]).max() <= step


def test_the_audit_is_the_same_inside_and_outside(tmp_path: Path) -> None:
    of = model(tmp_path / "model", Precision.INT8)
    outside, inside = (
        build("onnxruntime", of, tmp_path / str(i), inside).notes["audit"]
        for i, inside in enumerate((None, Inside(NMS, True)))
    )
    assert outside["share"] == inside["share"] and outside["share"]["int8"] > 0.5
    assert inside["nms_in"] == "graph" and "nms_in" not in outside


def test_the_files_say_where_it_runs(tmp_path: Path) -> None:
    of = model(tmp_path / "model", Precision.FP32)
    engine = build("onnxruntime", of, tmp_path / "e", Inside(NMS, True))
    said = engine.path("infer_cfg.yml").read_text()
    assert "nms: graph" in said and "preprocess: graph" in said and "num_dets" in said
    assert Sidecar.read(engine.root).labels == Sidecar.read(of.root).labels
    assert artifact_from_json(to_json(engine)) == engine
    plain = build("onnxruntime", of, tmp_path / "p", None)
    assert plain.path("infer_cfg.yml").read_bytes() == of.path("infer_cfg.yml").read_bytes()


def test_an_engine_of_before_keeps_its_digest(tmp_path: Path) -> None:
    plain = build("onnxruntime", model(tmp_path / "model", Precision.FP32), tmp_path / "p", None)
    written = to_json(plain)
    del written["inside"]  # as an older version wrote it
    assert artifact_from_json(written).digest == plain.digest
    assert dataclasses.replace(plain, inside=Inside(NMS)).digest != plain.digest


def test_other_thresholds_than_those_inside_are_refused(tmp_path: Path) -> None:
    engine = build("onnxruntime", model(tmp_path / "model", Precision.FP32), tmp_path / "e", Inside(NMS))
    image = read_image(sorted(unlabeled(tmp_path / "images").root.glob("*.png"))[0])
    with open_detector(engine, NMS) as opened:
        (seen,) = opened.runner.run([image])
        with pytest.raises(StageError, match=r"NMS inside, .*export\.nms=outside"):
            seen.detections(NmsOptions(score_threshold=0.3, keep_top_k=1000))


def test_end_to_end_is_timed_without_what_is_inside(tmp_path: Path) -> None:
    engine = build("onnxruntime", model(tmp_path / "model", Precision.FP32), tmp_path / "e", Inside(NMS, True))
    paths = [str(path) for path in sorted(unlabeled(tmp_path / "images").root.glob("*.png"))]
    with open_timed_engine(Setup(engine, paths, NMS, 1), watched=False) as timed, open_detector(engine, NMS) as opened:
        (found,) = timed.pair.end2end(0)
        assert timed.pair.feeds["image"].dtype == np.uint8
        (seen,) = opened.runner.run([read_image(Path(paths[0]))])
        assert np.array_equal(found, seen.detections(NMS)) and len(found) > 10


def test_boxes_of_a_network_that_knows_no_scale_are_in_pixels_of_the_image() -> None:
    outputs = [
        np.int32([[1]]),
        np.float32([[[0, 0, 32, 64], [9, 9, 9, 9]]]),
        np.float32([[0.5, 0]]),
        np.int32([[3, -1]]),
    ]
    sidecar = Sidecar(input_size=(64, 64), scale_factor=False)
    runner = ImageRunner(sidecar, sidecar, lambda feeds: outputs, 1, Inside(NMS))
    (seen,) = runner.run([np.zeros((128, 32, 3), np.uint8)])
    assert seen.detections(NMS).tolist() == [[3, 0.5, 0, 0, 16, 128]] and seen.finite and seen.classes is None


# --- what cannot be had is said -----------------------------------------------------------------------------------


def test_tensorrt_for_rtx_says_that_it_has_no_nms(tmp_path: Path) -> None:
    if isinstance(state := backends.get("tensorrt_rtx").availability(), Unavailable):
        pytest.skip(str(state))
    of = model(tmp_path / "model", Precision.INT8)
    with pytest.raises(UnavailableError, match=r"does not do export\.nms=graph: .*no plug-in EfficientNMS_TRT"):
        build("tensorrt_rtx", of, tmp_path / "nms", Inside(NMS, True))
    assert build("tensorrt_rtx", of, tmp_path / "pixels", Inside(None, True)).takes_pixels


class Plain:
    """A backend of another distribution, which was written before there was anything inside."""

    name = "plain"
    Options = BackendOptions

    def availability(self, options: BackendOptions | None = None) -> Available:
        return Available("here")

    def fingerprint(self) -> dict[str, str]:
        return {}

    def prepare(self) -> None:
        return None

    def build(self, model: ExportedModel, precision: Precision, options: BackendOptions, out: Path) -> Any:
        raise AssertionError("it is not asked")

    @contextmanager
    def open(self, engine: Engine) -> Iterator[Any]:
        yield None


def test_a_backend_that_knows_nothing_of_it_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "get", lambda name: Plain())
    of = model(tmp_path / "model", Precision.FP32)
    reason = "it runs the exported model as it is"
    with pytest.raises(UnavailableError, match=rf"plain does not do export\.nms=graph: {reason}; .*preprocess=graph"):
        build("plain", of, tmp_path / "e", Inside(NMS, True))
    with pytest.raises(UnavailableError, match=rf"does not do export\.preprocess=graph: {reason}") as only:
        build("plain", of, tmp_path / "f", Inside(None, True))
    assert "nms" not in str(only.value)


def test_every_backend_says_what_it_can() -> None:
    can = {name for name in backends.names() if isinstance(backends.get(name), BuildsInside)}
    assert can == {"onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "paddle_inference"}
    paddle = backends.get("paddle_inference")
    assert isinstance(paddle, BuildsInside)
    reason = paddle.why_not_inside(Inside(NMS, True), BackendOptions())
    assert reason is not None and "ONNX graphs" in reason


# --- Paddle ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.paddle
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("precision", list(Precision))
def test_a_paddle_engine_with_nms_finds_the_same(precision: Precision, batch: int, tmp_path: Path) -> None:
    assert "paddle_inference" in PADDLE
    if isinstance(state := backends.get("paddle_inference").availability(), Unavailable):
        pytest.skip(str(state))
    of = model(tmp_path / "model", precision, batch, paddle=True)
    # In Paddle the stand-in's boxes have their corners in any order, and some no width: Paddle drops what has no IoU
    # with others. What suppression does with real boxes: tests/stages/bundle/test_paddle_form.py.
    nms = dataclasses.replace(NMS, nms_threshold=1e6)
    paths = sorted(unlabeled(tmp_path / "images").root.glob("*.png"))[:batch]
    images = [read_image(path) for path in paths]
    found = []
    for key, own in (("outside", None), ("inside", Inside(nms))):
        options = BuildOptions("paddle_inference", inside=own)
        engine = Worker(tmp_path / key, "build", options, BuildInputs(of)).done()
        assert isinstance(engine, Engine)
        runner = ImageRunner(
            engine,
            Sidecar.read(engine.root),
            lambda feeds, engine=engine: run_elsewhere(engine, [dict(feeds)])[0],  # type: ignore[misc]
            batch,
            engine.inside,
        )
        found.append([seen.detections(nms) for seen in runner.run(images)])
    for outside, inside in zip(*found, strict=True):
        assert len(outside) >= len(inside) > 0.85 * len(outside) > 100
        assert (np.diff(inside[:, 1]) <= 0).all()
        assert all(np.abs(outside - row).max(axis=1).min() <= 1e-4 for row in inside)


def test_pixels_are_fed_as_bytes() -> None:
    sidecar = Sidecar(input_size=(8, 8))
    pixels, scales = Pixels(sidecar).batch([np.full((4, 4, 3), (1, 2, 3), np.uint8)])
    assert feeds_for(sidecar, pixels, scales)["image"].dtype == np.uint8
    assert pixels[0, 0, 0].tolist() == [3, 2, 1]
