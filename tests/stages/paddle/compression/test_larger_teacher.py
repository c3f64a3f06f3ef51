"""A student that learns from a larger model: its projections are trained, and are no part of what comes out."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.artifacts import ExportedModel, ImageList
from stages.distillation.distill import DistillInputs
from stages.export.export import ExportInputs
from stages.options.compression import DistillOptions
from stages.options.export import ExportOptions
from tests.stages.detectors import LABELS, model
from tests.stages.paddle.models.test_models import merge
from tests.stages.workers import Worker


def options(**changes: Any) -> DistillOptions:
    settings: dict[str, Any] = {"steps": 12, "batch": 2, "checkpoint_every": 3, "log_every": 4, "lr": 1e-6}
    settings |= {"eval_every": 6, "calibration_images": 3, "use_pact": False, "loss": "features"}
    return DistillOptions(**{**settings, "teacher": "ppyoloe_s", "teacher_weights": "s.pdparams", **changes})


def exported(folder: Path, pictures: ImageList, architecture: dict[str, Any], labels: list[str]) -> ExportedModel:
    own = dataclasses.replace(
        model(), architecture=merge(model().architecture, architecture), labels=labels, random_weights=True
    )
    made: ExportedModel = Worker(folder, "export", ExportOptions(model=own), ExportInputs(None, pictures)).done()
    return made


@pytest.fixture(scope="module")
def taught(fp32: DistillInputs, pictures: ImageList, tmp_path_factory: pytest.TempPathFactory) -> DistillInputs:
    """With a teacher of twice the channels, whose classes are one more and in another order."""
    labels = [LABELS[2], "hexagon", *LABELS[:2]]
    teacher = exported(tmp_path_factory.mktemp("teacher"), pictures, {"width_mult": 0.25}, labels)
    return dataclasses.replace(fp32, teacher=teacher)


@pytest.fixture(scope="module")
def whole(taught: DistillInputs, tmp_path_factory: pytest.TempPathFactory) -> Worker:
    worker = Worker(tmp_path_factory.mktemp("whole"), "distill", options(), taught)
    worker.done()
    return worker


@pytest.mark.slow
def test_the_loss_falls_and_no_projection_is_left(whole: Worker, pictures: ImageList, tmp_path: Path) -> None:
    points = json.loads((whole.out / "history.json").read_text())
    assert points[-1]["loss"] < points[0]["loss"], points
    scores = json.loads((whole.out / "scores.json").read_text())["scores"]
    assert min(score["eval_loss"] for score in scores[1:]) < scores[0]["eval_loss"], scores  # the best is exported
    with np.load(whole.work / "checkpoint.npz") as state:
        shapes = {name: state[name].shape for name in state.files if name.endswith(".projection")}
    assert len(shapes) == 3 and all(shape[0] == 2 * shape[1] for shape in shapes.values()), shapes
    assert b"projection" not in (whole.out / "model.pdmodel").read_bytes()
    inputs = ExportInputs(model=whole.result, images=pictures)  # type: ignore[arg-type]
    int8 = Worker(tmp_path, "export", ExportOptions(model=model(), precision="int8"), inputs).done()
    assert b"projection" not in int8.path("model.onnx").read_bytes()


@pytest.mark.slow
def test_an_interrupted_one_goes_on_to_the_same_weights(whole: Worker, taught: DistillInputs, tmp_path: Path) -> None:
    first = Worker(tmp_path, "distill", options(), taught)
    assert first.wait(kill_at=8, how=signal.SIGKILL) != 0
    second = Worker(tmp_path, "distill", options(), taught)
    second.done()
    assert any("continues from step" in text for text in second.said("info"))
    assert second.result.files == whole.result.files


@pytest.mark.slow
def test_without_features_nothing_is_projected(taught: DistillInputs, tmp_path: Path) -> None:
    worker = Worker(tmp_path, "distill", options(loss="detection", steps=2, eval_every=1), taught)
    worker.done()
    with np.load(worker.work / "checkpoint.npz") as state:
        assert not [name for name in state.files if name.endswith(".projection")]


@pytest.mark.slow
def test_a_teacher_of_other_box_distributions_is_refused(
    fp32: DistillInputs, pictures: ImageList, tmp_path: Path
) -> None:
    teacher = exported(tmp_path / "teacher", pictures, {"PPYOLOEHead": {"reg_max": 8}}, LABELS)
    worker = Worker(tmp_path / "run", "distill", options(), dataclasses.replace(fp32, teacher=teacher))
    message = worker.failed()["message"]
    assert "compression.teacher: its levels are" in message and "reg_max" in message
    assert len(message.splitlines()) <= 2  # what is wrong with a config, and the one thing
