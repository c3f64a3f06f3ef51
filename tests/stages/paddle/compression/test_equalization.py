"""Scaling channels changes nothing in FP32, takes an outlier's range back, and fits layers that are left in float."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.artifacts import EQUALIZED_FILE, ExportedModel, ImageList
from stages.codec import to_json
from stages.distillation.distill import DistillInputs
from stages.export.export import ExportInputs
from stages.options.compression import DistillOptions
from stages.options.export import ExportOptions
from stages.options.model import ModelOptions
from tests.stages.detectors import model
from tests.stages.paddle.models.test_models import merge
from tests.stages.workers import Worker, probed

BLOCK = "backbone.stages.1.blocks.0"


def with_relu() -> ModelOptions:
    parts = {name: {"act": "relu"} for name in ("CSPResNet", "CustomCSPPAN", "PPYOLOEHead")}
    return replace(model(), architecture=merge(model().architecture, parts), random_weights=True)


@pytest.fixture(scope="module")
def relu(pictures: ImageList, tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    """The small detector with ReLU for SiLU."""
    folder = tmp_path_factory.mktemp("relu")
    made: ExportedModel = Worker(
        folder, "export", ExportOptions(model=with_relu()), ExportInputs(None, pictures)
    ).done()
    return made


def probe(mode: str, exported: ExportedModel, images: ImageList, folder: Path) -> dict[str, Any]:
    files = []
    for name, artifact in (("fp32", exported), ("images", images)):
        (folder / f"{name}.json").write_text(json.dumps(to_json(artifact)))
        files.append(str(folder / f"{name}.json"))
    found: dict[str, Any] = probed("tests.stages.paddle.probe_corrections", mode, *files)
    return found


@pytest.mark.slow
def test_across_relu_an_outlier_goes_and_outputs_stay(relu: ExportedModel, pictures: ImageList, tmp_path: Path) -> None:
    found = probe("equalize", relu, pictures, tmp_path)
    assert found["can"] and 5 < found["pairs"] <= found["scalable"]
    assert found["difference"] < 1e-4
    before, after = found["spreads"]
    assert before > 20 and after < before / 5, found["spreads"]


@pytest.mark.slow
def test_across_silu_only_what_nobody_reads_is_silenced(
    fp32: DistillInputs, pictures: ImageList, tmp_path: Path
) -> None:
    found = probe("equalize", fp32.model, pictures, tmp_path)
    assert found["links"] > 5 and (found["scalable"], found["pairs"], found["silenced"]) == (0, 0, 1)
    assert not found["can"]  # as it was before the channel was planted
    assert found["difference"] < 1e-4
    before, after = found["spreads"]
    assert before > 20 and after < before / 5, found["spreads"]


@pytest.mark.slow
def test_layers_in_float_fit_an_equalised_model(relu: ExportedModel, pictures: ImageList, tmp_path: Path) -> None:
    options = DistillOptions(method="ptq", equalize=True, bias_correction=True, calibration_images=4, batch=2)
    worker = Worker(tmp_path / "ptq", "distill", options, DistillInputs(relu, pictures))
    made: Any = worker.done()
    assert EQUALIZED_FILE in made.files
    assert any("equalisation scaled" in said for said in worker.said("info"))
    assert any("bias correction: " in said for said in worker.said("info"))
    exporting = ExportOptions(model=with_relu(), precision="int8")
    int8: ExportedModel = Worker(tmp_path / "int8", "export", exporting, ExportInputs(made, pictures)).done()
    assert int8.files[EQUALIZED_FILE] == made.files[EQUALIZED_FILE]
    files = []
    for name, artifact in (("base", relu), ("model", int8)):
        (tmp_path / f"{name}.json").write_text(json.dumps(to_json(artifact)))
        files.append(str(tmp_path / f"{name}.json"))
    (tmp_path / "mixed").mkdir()
    # Paddle's oneDNN opens no model with ReLU of which a block is in float, equalised or not.
    probed("tests.stages.paddle.probe_mixing", *files, str(tmp_path / "mixed"), BLOCK, "onnx")
    with np.load(tmp_path / "mixed" / "outputs.npz") as outputs:
        names, error = ("none", "one", "all"), dict[str, float]()
        for name in names:
            each = [np.abs(outputs[f"{name}.onnx.{i}"] - outputs[f"fp32.{i}"]).max() for i in range(2)]
            error[name] = max(e / np.abs(outputs[f"fp32.{i}"]).max() for i, e in enumerate(each))
    assert error["all"] <= 1e-4 and error["none"] > 0, error
    assert error["one"] < 3 * error["none"], error  # a block that does not fit would be wrong altogether


@pytest.mark.slow
def test_where_nothing_can_be_scaled_it_says_so(fp32: DistillInputs, tmp_path: Path) -> None:
    options = DistillOptions(method="ptq", equalize=True, calibration_images=2, batch=2)
    worker = Worker(tmp_path, "distill", options, fp32)
    made: Any = worker.done()
    assert EQUALIZED_FILE not in made.files
    assert any("has nothing to change here" in said for said in worker.said("warning"))
