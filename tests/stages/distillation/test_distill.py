"""Compression, run as the product runs it, on a very small detector."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from stages import backends
from stages.artifacts import ExportedModel, ImageList, LabeledSet, hash_files
from stages.backends.base import Unavailable
from stages.build.build import Build, BuildInputs
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.distillation.distill import Distill, DistillInputs
from stages.errors import ConfigError
from stages.export.export import ExportInputs
from stages.options.backend import BuildOptions
from stages.options.compression import DistillOptions
from stages.options.export import ExportOptions
from tests.fakes import FakeContext
from tests.stages.detectors import LABELS, model
from tests.stages.workers import Worker, curve

STEPS = 10


def options(**changes: Any) -> DistillOptions:
    settings: dict[str, Any] = {"steps": STEPS, "batch": 2, "checkpoint_every": 3, "log_every": 2, "lr": 1e-3}
    settings |= {"eval_every": 5, "calibration_images": 3}
    return DistillOptions(**{**settings, **changes})


@pytest.fixture(scope="module")
def whole(fp32: DistillInputs, tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A distillation that nobody interrupted."""
    before = hash_files(fp32.model.root)
    worker = Worker(tmp_path_factory.mktemp("whole"), "distill", options(), fp32)
    worker.done()
    assert hash_files(fp32.model.root) == before
    return worker


def to_onnx(worker: Worker, pictures: ImageList, folder: Path) -> tuple[ExportedModel, Any]:
    inputs = ExportInputs(model=worker.result, images=pictures)  # type: ignore[arg-type]
    made = Worker(folder, "export", ExportOptions(model=model(), precision="int8"), inputs).done()
    return made, onnx.load(str(made.path("model.onnx")))


def ranges_of(graph: Any) -> list[float]:
    """The scales of all quantizers of activations, times 127."""
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    values.update({n.output[0]: numpy_helper.to_array(n.attribute[0].t) for n in graph.node if n.op_type == "Constant"})
    found = [values[n.input[1]] for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] not in values]
    return [float(value) * 127 for value in found if value.size == 1]


@pytest.fixture(scope="module")
def int8(whole: Worker, fp32: DistillInputs, tmp_path_factory: pytest.TempPathFactory) -> tuple[ExportedModel, Any]:
    return to_onnx(whole, fp32.images, tmp_path_factory.mktemp("int8"))


@pytest.mark.slow
def test_a_student_is_trained_and_written(whole: Worker, fp32: DistillInputs) -> None:
    result: Any = whole.result
    assert {"model.pdmodel", "model.pdiparams", "history.json", "scores.json"} == set(result.files)
    assert (result.method, result.steps, result.images) == ("qat_distill", STEPS, fp32.images.count)
    points = curve(whole)
    assert [p["step"] for p in points] == [2, 4, 6, 8, 10]
    assert whole.metrics("loss") == [p["loss"] for p in points]
    assert points[0]["lr"] > points[-1]["lr"] > 0  # half a cosine
    assert len(whole.metrics("prepare_s")) == len(whole.metrics("calibration_s")) == 1
    assert len(whole.metrics("images_per_s")) == len(points)
    scores = json.loads((whole.out / "scores.json").read_text())
    assert [s["step"] for s in scores["scores"]] == [0, 5, 10]
    assert whole.metrics("eval_loss") == [s["eval_loss"] for s in scores["scores"]]
    assert whole.metrics("best_step") == [scores["best"]]
    assert min(scores["scores"], key=lambda s: s["eval_loss"])["step"] == scores["best"]
    nodes = [text for text in whole.said("info") if "distilled nodes" in text]
    assert len(nodes) == 1
    assert nodes[0].count("conv2d") == 6  # class and box, three levels
    assert "it/s]" not in whole.log_file.read_text()  # no progress bars
    assert whole.log_file.read_text().count("\n") < 40


@pytest.mark.slow
def test_every_convolution_but_the_projection_is_quantized_with_observed_ranges(
    int8: tuple[ExportedModel, Any],
) -> None:
    made, content = int8
    graph = content.graph
    producers = {output: node.op_type for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    floats = [node for node in convolutions if producers.get(node.input[0]) != "DequantizeLinear"]
    assert len(convolutions) > 60
    assert len(floats) == 3  # the fixed projection of each level
    assert not any(node.op_type == "BatchNormalization" for node in graph.node)
    ranges = ranges_of(graph)
    assert len(ranges) > 100
    assert 1.0 not in ranges  # the initial value of ranges that nobody observed
    assert all(np.isfinite(value) and value > 0 for value in ranges)
    assert made.agreement["max_rel"] < 1


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt_rtx"])
def test_a_pp_yoloe_is_built_in_fp32_and_in_int8_that_is_int8(
    backend: str, int8: tuple[ExportedModel, Any], fp32: DistillInputs, tmp_path: Path
) -> None:
    """NVIDIA's parser and builder need no GPU for this (TensorRT for RTX)."""
    if isinstance(state := backends.get(backend).availability(), Unavailable):
        pytest.skip(f"{backend}: {state}")
    options = {"tune": False} if backend == "onnxruntime" else {}
    exports = {"fp32": fp32.model, "int8": int8[0]}
    audits = {}
    for precision, made in exports.items():
        stage = Build(BuildOptions(backend=backend, options=options))
        engine = stage.run(BuildInputs(model=made), FakeContext(tmp_path / precision))
        audits[precision] = engine.notes["audit"]
        assert engine.size_bytes > 100_000
    assert audits["fp32"]["int8_share"] == 0
    assert audits["int8"]["int8_share"] >= 0.95, audits["int8"]["float_layers"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_distillation_goes_on_where_it_was(
    how: signal.Signals, whole: Worker, fp32: DistillInputs, tmp_path: Path
) -> None:
    first = Worker(tmp_path, "distill", options(), fp32)
    assert first.wait(kill_at=4, how=how) != 0
    second = Worker(tmp_path, "distill", options(), fp32)
    second.done()
    assert any("continues from step" in text for text in second.said("info"))
    ours, expected = curve(second), curve(whole)
    assert [p["step"] for p in ours] == [p["step"] for p in expected]
    np.testing.assert_allclose([p["loss"] for p in ours], [p["loss"] for p in expected], rtol=1e-6)
    assert second.result.files == whole.result.files  # the same weights, bit for bit


@pytest.mark.slow
def test_clipping_starts_no_lower_than_what_was_observed(fp32: DistillInputs, tmp_path: Path) -> None:
    root = Path(shutil.copytree(fp32.model.root, tmp_path / "bright"))
    sidecar = dataclasses.replace(Sidecar.read(root), std=(0.01, 0.01, 0.01))  # the image reaches beyond PACT's 20
    sidecar.write(root / FILE_NAME)
    bright = dataclasses.replace(fp32.model, root=root, files=hash_files(root))
    worker = Worker(
        tmp_path / "distill",
        "distill",
        options(steps=2, checkpoint_every=1),
        dataclasses.replace(fp32, model=bright),
    )
    worker.done()
    with np.load(worker.work / "checkpoint.npz") as state:
        threshold = float(state[f"{bright.image_input}_tmp_input_pact"].item())
        observed = float(state[f"{bright.image_input}@scale"].item())
        assert len([name for name in state.files if name.endswith("_tmp_input_pact")]) > 20
    assert threshold > 40 and threshold > 0.99 * observed  # one step has moved it a little


@pytest.mark.slow
def test_a_loss_that_is_not_a_number_stops_after_two_halvings(fp32: DistillInputs, tmp_path: Path) -> None:
    worker = Worker(tmp_path, "distill", options(lr=1e30, use_pact=False, loss="l2"), fp32)
    error = worker.failed()
    assert error["type"] == "StageError"
    assert "at step" in error["message"] and "learning rate" in error["message"]
    assert len([text for text in worker.said("warning") if "half the rate" in text]) == 2
    assert "compression.lr" in error["message"]


@pytest.mark.slow
def test_random_weights_are_not_scored(fp32: DistillInputs, tmp_path: Path) -> None:
    random = dataclasses.replace(model(), random_weights=True)
    worker = Worker(tmp_path, "distill", options(steps=2, eval_every=1, model=random), fp32)
    worker.done()
    assert any("students are not scored" in said for said in worker.said("info"))
    assert not (worker.out / "scores.json").exists() and worker.metrics("eval_loss") == []


@pytest.mark.slow
def test_scored_by_labels_it_does_not_train_on_the_images_it_is_scored_on(fp32: DistillInputs, tmp_path: Path) -> None:
    entries = json.loads(fp32.images.path("images.json").read_text())
    folder = Path(entries[0]["path"]).parent
    records = [
        {"id": i + 1, "file_name": Path(e["path"]).name, "width": e["width"], "height": e["height"]}
        for i, e in enumerate(entries)
    ]
    boxes = [
        {"id": i, "image_id": i, "category_id": 1 + i % 3, "bbox": [2, 2, 40, 30], "area": 1200, "iscrowd": 0}
        for i in range(1, len(entries) + 1)
    ]
    coco = {
        "images": records,
        "annotations": boxes,
        "categories": [{"id": i + 1, "name": n} for i, n in enumerate(LABELS)],
    }
    root = tmp_path / "labeled"
    root.mkdir()
    (root / "annotations.json").write_text(json.dumps(coco))
    labeled = LabeledSet(
        root=root, files=hash_files(root), images_root=str(folder), images=6, boxes=6, images_digest="", labels=LABELS
    )
    inputs = dataclasses.replace(fp32, labeled=labeled)
    settings = options(steps=2, eval_every=2, eval_by="map", eval_images=4, loss="features", temperature=2.0)
    worker = Worker(tmp_path / "run", "distill", settings, inputs)
    worker.done()
    (nodes,) = [text for text in worker.said("info") if "distilled nodes" in text]
    assert len(nodes.split(", ")) == 9  # class and box logits and the neck's features, three levels
    assert 0 < worker.metrics("loss")[0] < math.inf
    assert len(worker.metrics("eval_map")) == 2
    assert all(0 <= value <= 100 for value in worker.metrics("eval_map"))
    every = Worker(tmp_path / "every", "distill", options(steps=2, eval_by="map", eval_images=6), inputs)
    assert "every unlabeled image is one that is scored on" in every.failed()["message"]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["mse"])
def test_post_training_quantization_gives_the_same_graph(
    algorithm: str, int8: tuple[ExportedModel, Any], fp32: DistillInputs, tmp_path: Path
) -> None:
    worker = Worker(tmp_path / "ptq", "distill", options(method="ptq", ptq_algo=algorithm), fp32)
    result: Any = worker.done()
    assert (result.method, result.steps) == ("ptq", 0)
    assert curve(worker) == []
    _, ours = to_onnx(worker, fp32.images, tmp_path / "ours")
    _, distilled = int8
    assert [n.op_type for n in ours.graph.node] == [n.op_type for n in distilled.graph.node]
    assert 1.0 not in ranges_of(ours.graph)


def test_all_wrong_settings_are_named_at_once() -> None:
    wrong = DistillOptions(
        method="magic", loss="l3", steps=0, lr=0, ptq_algo="best", quantize_op_types=["relu"], temperature=math.nan
    )
    unread: Any = None  # nothing is looked at before the options are
    with pytest.raises(ConfigError) as caught:
        Distill(wrong).run(unread, unread)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        f"compression.{name}"
        for name in ("method", "steps", "lr", "loss", "temperature", "quantize_op_types", "ptq_algo")
    ]
    with pytest.raises(ConfigError, match="none quantizes nothing"):
        Distill(DistillOptions(method="none")).run(unread, unread)
