"""mAP does not hang on where NMS runs, on the demo's detector: within 0.05 points, on every backend that can."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages import backends
from stages.accuracy.accuracy import Accuracy
from stages.artifacts import ExportedModel, LabeledSet, Precision
from stages.backends.base import Unavailable
from stages.build.build import BuildInputs
from stages.options.accuracy import AccuracyOptions, NmsOptions
from stages.options.backend import BuildOptions
from stages.options.export import Inside
from tests.stages.bundle.test_paddle_form import demo_exports
from tests.stages.workers import Worker

POINTS = 0.05
NMS = NmsOptions()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[Precision, ExportedModel], LabeledSet]:
    exports, _, labels = demo_exports(tmp_path_factory.mktemp("demo"))
    return exports, labels


@pytest.mark.slow
@pytest.mark.paddle
@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "paddle_inference"])
def test_map_is_that_of_nms_outside(
    backend: str, precision: Precision, demo: tuple[dict[Precision, ExportedModel], LabeledSet], tmp_path: Path
) -> None:
    if isinstance(state := backends.get(backend).availability(), Unavailable):
        pytest.skip(str(state))
    exports, labels = demo
    found = []
    for name, inside in (("outside", None), ("inside", Inside(NMS))):
        options = BuildOptions(backend, {"tune": False} if backend == "onnxruntime" else {}, inside)
        engine = Worker(tmp_path / f"{name}-build", "build", options, BuildInputs(exports[precision])).done()
        inputs = Accuracy.Inputs(engine, labels)
        made = Worker(tmp_path / f"{name}-score", "accuracy", AccuracyOptions(nms=NMS), inputs).done()
        found.append(json.loads(made.path("accuracy.json").read_text()))
    outside, inside_ = found
    assert outside["map"] > 40 and abs(outside["map"] - inside_["map"]) <= POINTS
    assert inside_["nms_in"] == "graph" and "nms_in" not in outside
    assert outside["detections"] == inside_["detections"]
