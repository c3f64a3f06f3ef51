"""PaddleDetection's two deploy scripts run on a bundle's ``paddle/`` as it is, and find what the engine finds.

The calls of the scripts are made here; with DETPRESS_PADDLEDETECTION=FOLDER, a checkout of PaddleDetection (and the
packages that its scripts import), the scripts themselves run too.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.artifacts import Bundle, Checkpoint, ExportedModel, ImageList, LabeledSet, Precision, hash_files
from stages.build.build import Build, BuildInputs
from stages.bundle.bundle import BundleStage
from stages.bundle.verify import compare
from stages.data.collect import CollectLabeled, CollectUnlabeled
from stages.data.draw import Draw
from stages.detection.shapes import LABELS
from stages.distillation.distill import DistillInputs
from stages.errors import StageError
from stages.export.export import ExportInputs
from stages.options.backend import BuildOptions
from stages.options.bundle import BundleOptions
from stages.options.compression import DistillOptions
from stages.options.data import CollectOptions, ShapesOptions
from stages.options.export import ExportOptions
from stages.options.model import ModelOptions
from stages.programs.nms import stated_nms
from tests.conftest import ROOT
from tests.fakes import FakeContext
from tests.stages.bundle.as_scripts import as_found, prepared
from tests.stages.bundle.test_bundle import made, stand_in  # noqa: F401 (a fixture)
from tests.stages.engines import unlabeled
from tests.stages.paddle.models.test_models import compose
from tests.stages.workers import Worker, probed

CHECKOUT = os.environ.get("DETPRESS_PADDLEDETECTION", "")
SHOWN = 0.5
"""What the scripts show by default, and the bundle's draw_threshold."""


def onnx_calls(folder: Path, images: list[Path]) -> list[list[list[float]]]:
    """The calls of deploy/third_engine/onnx/infer.py: every output is asked for, the first one is read as rows."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    steps = yaml.safe_load((folder / "infer_cfg.yml").read_text())["Preprocess"]
    found = []
    for image in images:
        inputs = prepared(image, steps)
        outputs = session.run(None, {value.name: inputs[value.name][None] for value in session.get_inputs()})
        assert outputs[0].shape[0] == outputs[1][0]
        found.append(outputs[0].tolist())
    return found


def golden(bundle: Bundle, threshold: float = 0.0) -> tuple[list[Path], list[list[dict[str, Any]]]]:
    """The golden images, and what the bundle's engine finds in each above a score."""
    listed = json.loads(bundle.path("golden/expected.json").read_text())
    images = [bundle.root / "golden" / each["file"] for each in listed]
    return images, [[one for one in each["detections"] if one["score"] > threshold] for each in listed]


def agree(expected: list[list[dict[str, Any]]], rows: list[list[list[float]]], least: float) -> None:
    pairs = lost = 0
    for one, other in zip(expected, rows, strict=True):
        matched, alone, _ = compare(one, as_found(other))
        pairs, lost = pairs + matched, lost + alone
    assert pairs > 3 and pairs >= least * (pairs + lost)


def test_the_onnx_script_finds_what_the_engine_finds(made: Bundle) -> None:  # noqa: F811
    images, expected = golden(made)
    agree(expected, onnx_calls(made.root / "paddle", images), 0.97)


def test_the_files_say_that_nms_is_in_them(made: Bundle) -> None:  # noqa: F811
    record = json.loads(made.path("bundle.json").read_text())
    assert stated_nms(made.path("paddle/model.pdmodel")) == pytest.approx(record["nms"])
    said = yaml.safe_load(made.path("paddle/infer_cfg.yml").read_text())
    assert said["detpress"]["nms"] == "graph" and said["detpress"]["outputs"] == ["bbox", "bbox_num"]
    assert said["detpress"]["thresholds"] == record["nms"]
    # What the scripts read, and stop without.
    assert {"arch", "Preprocess", "min_subgraph_size", "label_list", "use_dynamic_shape", "draw_threshold"} <= set(said)
    assert "PaddleDetection's deploy scripts and FastDeploy, with NMS in it" in made.path("README.md").read_text()


def bundle(model: ExportedModel, images: ImageList, folder: Path) -> tuple[Bundle, FakeContext]:
    options: dict[str, Any] = {"threads": 1, "tune": False}
    engine = Build(BuildOptions(options=options)).run(BuildInputs(model), FakeContext(folder / "engine"))
    inputs = BundleStage.Inputs(engine=engine, exported=model, images=images)
    context = FakeContext(folder / "bundle")
    return BundleStage(BundleOptions(run_id="r", model="m", golden=16)).run(inputs, context), context


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scale_factor": False}, "takes no scale_factor"),
        ({"image_input": "x0"}, "are called x0 and scale_factor"),
    ],
)
def test_a_model_that_the_scripts_cannot_run_stays_as_it_was_exported(
    changes: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.bundle import paddle_form

    model = dataclasses.replace(stand_in(tmp_path / "model"), **changes)
    told = paddle_form.why_not(model)
    assert told is not None and reason in told
    paddle_form.write(model, BundleOptions().nms, tmp_path / "paddle")
    assert sorted(path.name for path in (tmp_path / "paddle").iterdir()) == [
        "infer_cfg.yml", "model.pdiparams", "model.pdmodel"
    ]  # fmt: skip
    assert (tmp_path / "paddle" / "model.pdmodel").read_bytes() == model.path("model.pdmodel").read_bytes()


def test_a_damaged_program_stops_the_bundle(tmp_path: Path) -> None:
    model = stand_in(tmp_path / "model")
    model.path("model.pdmodel").write_bytes(b"paddle")
    with pytest.raises(StageError, match="cannot be given NMS"):
        bundle(model, unlabeled(tmp_path / "images"), tmp_path)


# --- with Paddle, on the demo's detector --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[Precision, Bundle]:
    """A bundle of the demo's checkpoint in FP32 and one in INT8."""
    folder = tmp_path_factory.mktemp("demo")
    exports, images, _ = demo_exports(folder)
    return {precision: bundle(one, images, folder / f"b-{precision}")[0] for precision, one in exports.items()}


def demo_exports(folder: Path) -> tuple[dict[Precision, ExportedModel], ImageList, LabeledSet]:
    """The demo's checkpoint, exported in FP32 and in INT8; drawn images without and with labels."""
    drawn = Draw(ShapesOptions(train=1, unlabeled=16, val=40)).run(Draw.Inputs(), FakeContext(folder / "drawn"))
    labels = CollectLabeled(CollectOptions(annotations="val.json", images="val")).run(
        CollectLabeled.Inputs(drawn=drawn), FakeContext(folder / "labels")
    )
    images = CollectUnlabeled(CollectOptions(images="unlabeled")).run(
        CollectUnlabeled.Inputs(drawn=drawn), FakeContext(folder / "images")
    )
    model = ModelOptions(**{**compose("ppyoloe_tiny"), "labels": list(LABELS)})
    source, weights = ROOT / "artifacts" / "demo", "ppyoloe_tiny_shapes.pdparams"
    checkpoint = Checkpoint(root=source, files=hash_files(source, [weights]), weights=weights)
    options = ExportOptions(model=model, agreement_images=1)
    base = Worker(folder / "fp32", "export", options, ExportInputs(checkpoint, images)).done()
    settings = DistillOptions(method="ptq", ptq_algo="avg", calibration_images=8)
    quantized = Worker(folder / "ptq", "distill", settings, DistillInputs(base, images)).done()
    int8 = Worker(folder / "int8", "export", dataclasses.replace(options, precision="int8"),
                  ExportInputs(quantized, images)).done()  # fmt: skip
    return {Precision.FP32: base, Precision.INT8: int8}, images, labels


@pytest.mark.slow
@pytest.mark.paddle
@pytest.mark.parametrize(("precision", "least"), [(Precision.FP32, 0.99), (Precision.INT8, 0.85)])
def test_the_scripts_calls_find_what_the_engine_finds(
    precision: Precision, least: float, demo: dict[Precision, Bundle]
) -> None:
    images, expected = golden(demo[precision])
    folder = demo[precision].root / "paddle"
    agree(expected, onnx_calls(folder, images), 0.99)
    agree(expected, probed("tests.stages.paddle.deploy_calls", str(folder), *map(str, images)), least)


@pytest.mark.slow
@pytest.mark.paddle
@pytest.mark.skipif(not CHECKOUT, reason="DETPRESS_PADDLEDETECTION names no checkout of PaddleDetection")
@pytest.mark.parametrize(("precision", "least"), [(Precision.FP32, 0.99), (Precision.INT8, 0.85)])
def test_the_scripts_themselves_find_what_the_engine_finds(
    precision: Precision, least: float, demo: dict[Precision, Bundle], tmp_path: Path
) -> None:
    images, expected = golden(demo[precision], SHOWN)
    folder = demo[precision].root / "paddle"
    python, onnx = [], []
    images, expected = images[:4], expected[:4]  # each takes the scripts seconds to start
    for image in images:
        told = _told(
            "deploy/python/infer.py", f"--model_dir={folder}", f"--image_file={image}", f"--output_dir={tmp_path}"
        )
        number = r"(-?[\d.]+)"
        corners = [rf"{corner}:\[{number},{number}\]" for corner in ("left_top", "right_bottom")]
        line = rf"class_id:(\d+), confidence:{number}, {corners[0]},\s?{corners[1]}"
        python.append([[float(value) for value in found] for found in re.findall(line, told)])
        told = _told(
            "deploy/third_engine/onnx/infer.py", f"--infer_cfg={folder}/infer_cfg.yml",
            f"--onnx_file={folder}/model.onnx", f"--image_file={image}",
        )  # fmt: skip
        rows = told.partition("ONNXRuntime predict:")[2].strip().splitlines()
        onnx.append([[float(value) for value in row.split()] for row in rows])
    agree(expected, onnx, 0.99)
    agree(expected, python, least)


def _told(script: str, *arguments: str) -> str:
    """What a script of the checkout prints."""
    path = Path(CHECKOUT) / script
    command = [sys.executable, str(path), *arguments]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
