"""Export: the forms users bring become one form, and ONNX says what Paddle says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from stages.artifacts import Checkpoint, ExportedModel, ImageList, InferenceModel, hash_files
from stages.data.weights import read_pdparams, write_pdparams
from stages.detection.images import read_image
from stages.detection.preprocess import Preprocessor
from stages.detection.sidecar import Sidecar
from stages.detection.unlabeled import listed_paths
from stages.errors import ConfigError
from stages.export.export import Export, ExportInputs
from stages.options.export import ExportOptions
from tests.conftest import ROOT
from tests.fakes import FakeContext
from tests.stages.detectors import LABELS, SIZE, checkpoint, images, inference, model
from tests.stages.workers import Worker

CELLS = sum((SIZE // stride) ** 2 for stride in (8, 16, 32))


@pytest.fixture(scope="module")
def exported(
    forms: Path, pictures: ImageList, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ExportedModel, Worker]:
    inputs = ExportInputs(model=checkpoint(forms), images=pictures)
    worker = Worker(tmp_path_factory.mktemp("export"), "export", ExportOptions(model=model()), inputs)
    return worker.done(), worker


def outputs(model: ExportedModel, pictures: ImageList, scale: bool = True) -> list[Any]:
    image, factors = Preprocessor(Sidecar.read(model.root)).batch([read_image(p) for p in listed_paths(pictures)[:1]])
    feeds = {model.image_input: image}
    if model.scale_factor:
        feeds[model.scale_input] = factors if scale else np.ones_like(factors)
    session = onnxruntime.InferenceSession(str(model.path("model.onnx")), providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


@pytest.mark.slow
def test_a_checkpoint_becomes_the_contracts_form(exported: tuple[ExportedModel, Worker]) -> None:
    made, worker = exported
    forms = {"model.pdmodel", "model.pdiparams", "model.onnx"}
    assert set(made.files) == forms | {"infer_cfg.yml", "layers.json", "magnitudes.json"}
    program = made.path("model.pdmodel").read_bytes()
    assert b"op_callstack" not in program and str(ROOT).encode() not in program, "it names folders of this machine"
    graph = onnx.load(str(made.path("model.onnx")))
    assert graph.opset_import[0].version == 13
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.graph.input, *graph.graph.output)
    }
    assert shapes == {
        "image": [1, 3, SIZE, SIZE],
        "scale_factor": [1, 2],
        made.boxes_output: [1, CELLS, 4],
        made.scores_output: [1, len(LABELS), CELLS],
    }
    assert [v.name for v in graph.graph.output] == ["boxes", "scores"]
    assert 0 < made.agreement["max_rel"] < 1e-4
    assert worker.metrics("agreement.max_rel") == [made.agreement["max_rel"]]
    sidecar = Sidecar.read(made.root)
    assert sidecar.labels == tuple(LABELS)
    assert (sidecar.boxes_output, sidecar.scores_output, sidecar.scale_factor) == ("boxes", "scores", True)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "batch"), [("with_nms", 1), ("without_nms", 2)])
def test_a_users_model_gives_what_the_checkpoint_gives(
    form: str, batch: int, forms: Path, pictures: ImageList, exported: tuple[ExportedModel, Worker], tmp_path: Path
) -> None:
    before = hash_files(forms / form)
    options = ExportOptions(model=model(), batch=batch)
    made = Worker(tmp_path, "export", options, ExportInputs(model=inference(forms / form), images=pictures)).done()
    assert hash_files(forms / form) == before
    assert made.batch == batch
    assert made.agreement["max_rel"] < 1e-4
    if batch == 1:
        for ours, expected in zip(outputs(made, pictures), outputs(exported[0], pictures), strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_model_without_post_processing_gives_boxes_in_pixels_of_its_input(
    forms: Path, pictures: ImageList, exported: tuple[ExportedModel, Worker], tmp_path: Path
) -> None:
    inputs = ExportInputs(model=inference(forms / "raw"), images=pictures)
    made = Worker(tmp_path, "export", ExportOptions(model=model()), inputs).done()
    assert not made.scale_factor
    assert not Sidecar.read(made.root).scale_factor
    for ours, expected in zip(outputs(made, pictures), outputs(exported[0], pictures, scale=False), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def broken(kind: str, forms: Path, folder: Path) -> tuple[InferenceModel, ExportOptions]:
    """A folder or a config that does not fit, of each kind."""
    shutil.copytree(forms / "without_nms", folder)
    options = ExportOptions(model=model())
    params = folder / "model.pdiparams"
    if kind == "no program":
        (folder / "model.pdmodel").write_bytes(b"not a program")
    elif kind == "cut off":
        params.write_bytes(params.read_bytes()[:-100])
    elif kind == "input size":
        options = ExportOptions(model=model(input_size=[64, 64]))
    elif kind == "classes":
        options = ExportOptions(model=model(labels=["one"]))
    return inference(folder), options


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("no program", "cannot be read as a Paddle inference model"),
        ("cut off", "cut off"),
        ("input size", "model.input_size=[96,96]"),
        ("classes", "knows 3 classes"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(
    kind: str, says: str, forms: Path, pictures: ImageList, tmp_path: Path
) -> None:
    given, options = broken(kind, forms, tmp_path / "given")
    error = Worker(tmp_path / "run", "export", options, ExportInputs(model=given, images=pictures)).failed()
    assert error["type"] == "WeightsError"
    assert says in error["message"]


@pytest.mark.slow
def test_disagreement_beyond_the_bound_stops(forms: Path, pictures: ImageList, tmp_path: Path) -> None:
    options = ExportOptions(model=model(), max_difference=1e-12)
    error = Worker(tmp_path, "export", options, ExportInputs(model=checkpoint(forms), images=pictures)).failed()
    assert error["type"] == "AgreementError"
    assert "export.max_difference" in error["message"]


@pytest.mark.slow
def test_weights_that_may_be_those_for_objects365_are_told_of(forms: Path, pictures: ImageList, tmp_path: Path) -> None:
    """They fit a PP-YOLOE, which prepares images in another way."""
    given = checkpoint(forms)
    arrays = read_pdparams(given.path(given.weights))
    for name in list(arrays):
        if ".pred_cls." in name:
            arrays[name] = np.zeros((365, *arrays[name].shape[1:]), np.float32)
    (tmp_path / "weights").mkdir()
    write_pdparams(tmp_path / "weights" / given.weights, arrays)
    start = Checkpoint(root=tmp_path / "weights", files=hash_files(tmp_path / "weights"), weights=given.weights)
    many = ExportOptions(model=model(labels=[f"class {i}" for i in range(365)]))
    worker = Worker(tmp_path / "run", "export", many, ExportInputs(model=start, images=pictures))
    worker.done()
    assert any("model.architecture.CSPResNet.use_alpha=false" in text for text in worker.said("warning"))


def test_random_weights_have_to_be_asked_for(context: FakeContext, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="random_weights"):
        Export(ExportOptions(model=model())).run(ExportInputs(model=None, images=images(tmp_path)), context)


@pytest.mark.slow
def test_random_weights_keep_activations_in_a_range_that_can_be_quantized(pictures: ImageList, tmp_path: Path) -> None:
    worker = Worker(
        tmp_path, "export", ExportOptions(model=model(random_weights=True)), ExportInputs(model=None, images=pictures)
    )
    made = worker.done()
    content = onnx.load(str(made.path("model.onnx")))
    names = [node.output[0] for node in content.graph.node if node.op_type == "Conv"]
    content.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in names)
    session = onnxruntime.InferenceSession(content.SerializeToString(), providers=["CPUExecutionProvider"])
    noise = np.random.default_rng(0).normal(size=(1, 3, SIZE, SIZE)).astype(np.float32)
    found = session.run(names, {"image": noise, "scale_factor": np.ones((1, 2), np.float32)})
    largest = [float(np.abs(value).max()) for value in found]
    assert min(largest) > 1e-3 and max(largest) < 100, largest
