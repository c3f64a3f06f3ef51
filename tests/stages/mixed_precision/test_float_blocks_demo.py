"""Float blocks on the demo's detector, one block of which is hurt: its ranges are too narrow, so that it saturates."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.artifacts import (
    FLOAT_BLOCKS_FILE,
    LAYERS_FILE,
    Checkpoint,
    ExportedModel,
    ImageList,
    LabeledSet,
    QuantizedModel,
    hash_files,
)
from stages.codec import to_json
from stages.data.collect import CollectLabeled, CollectUnlabeled
from stages.data.draw import Draw
from stages.detection.shapes import LABELS
from stages.distillation.distill import DistillInputs
from stages.export.export import ExportInputs
from stages.mixed_precision.blocks import group
from stages.mixed_precision.float_blocks import FloatBlocksInputs
from stages.options.compression import DistillOptions
from stages.options.data import CollectOptions, ShapesOptions
from stages.options.export import ExportOptions
from stages.options.model import ModelOptions
from stages.options.sensitivity import FloatBlocksOptions
from tests.conftest import ROOT
from tests.fakes import FakeContext
from tests.stages.paddle.models.test_models import compose
from tests.stages.workers import Worker, probed

BLOCK = "backbone.stages.2.blocks.0"
FACTOR = 0.05


@dataclass(frozen=True)
class Demo:
    base: ExportedModel
    model: ExportedModel
    images: ImageList
    labels: LabeledSet


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """FP32 and INT8 of the demo's checkpoint, the latter with a hurt block, and a few labelled images."""
    folder = tmp_path_factory.mktemp("demo")
    drawn = Draw(ShapesOptions(train=1, unlabeled=4, val=32)).run(Draw.Inputs(), FakeContext(folder / "drawn"))
    labels = CollectLabeled(CollectOptions(annotations="val.json", images="val")).run(
        CollectLabeled.Inputs(drawn=drawn), FakeContext(folder / "labels")
    )
    images = CollectUnlabeled(CollectOptions(images="unlabeled")).run(
        CollectUnlabeled.Inputs(drawn=drawn), FakeContext(folder / "images")
    )
    model = ModelOptions(**{**compose("ppyoloe_tiny"), "labels": list(LABELS)})
    weights = "ppyoloe_tiny_shapes.pdparams"
    source = ROOT / "artifacts" / "demo"
    checkpoint = Checkpoint(root=source, files=hash_files(source, [weights]), weights=weights)
    base = Worker(folder / "fp32", "export", ExportOptions(model=model, agreement_images=1),
                  ExportInputs(checkpoint, images)).done()  # fmt: skip
    settings = DistillOptions(method="ptq", ptq_algo="avg", calibration_images=4)
    made: QuantizedModel = Worker(folder / "ptq", "distill", settings, DistillInputs(base, images)).done()
    hurt = folder / "hurt"
    shutil.copytree(made.root, hurt)
    names = json.loads(base.path(LAYERS_FILE).read_text())
    probed("tests.stages.paddle.hurt", str(hurt), str(FACTOR), *group(names, names)[BLOCK])
    quantized = replace(made, root=hurt, files=hash_files(hurt))
    int8 = Worker(folder / "int8", "export", ExportOptions(model=model, precision="int8"),
                  ExportInputs(quantized, images)).done()  # fmt: skip
    return Demo(base, int8, images, labels)


def _differ(one: Any, other: Any) -> float:
    """Largest difference of boxes and scores, each relative to the largest value."""
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(one, other, strict=True))


@pytest.mark.slow
def test_a_mixture_is_fp32_where_it_is_float_and_int8_elsewhere_in_both_forms(demo: Demo, tmp_path: Path) -> None:
    for name, one in (("base", demo.base), ("model", demo.model)):
        (tmp_path / f"{name}.json").write_text(json.dumps(to_json(one)))
    files = [str(tmp_path / f"{name}.json") for name in ("base", "model")]
    told = probed("tests.stages.paddle.probe_mixing", *files, str(tmp_path), BLOCK)
    with np.load(tmp_path / "outputs.npz") as saved:
        mixtures = [f"{name}.{form}" for name in ("none", "one", "all") for form in ("onnx", "paddle")]
        outputs = {name: [saved[f"{name}.0"], saved[f"{name}.1"]] for name in ("fp32", "int8", *mixtures)}
    assert _differ(outputs["none.onnx"], outputs["int8"]) == 0
    assert _differ(outputs["all.onnx"], outputs["fp32"]) < 1e-5
    assert _differ(outputs["all.paddle"], outputs["fp32"]) < 1e-4
    assert _differ(outputs["one.onnx"], outputs["int8"]) > 0.01
    # The runtimes round differently, yet both gain by the block that is float again.
    for form in ("onnx", "paddle"):
        assert _differ(outputs[f"one.{form}"], outputs["fp32"]) < _differ(outputs[f"none.{form}"], outputs["fp32"])
    # Paddle's engine computes in float what was left in float, and nothing more but the box projection.
    (projection,) = set(told["float_layers"]["none"])
    assert set(told["float_layers"]["one"]) == {projection, *(f"{w}.float" for w in told["block"])}
    assert len(told["block"]) == 2
    assert {"backbone.stem", "neck.fpn_stages.1", "head.pred_cls.0", BLOCK} < set(told["blocks"])


@pytest.mark.slow
def test_the_hurt_block_is_found_and_it_alone_is_left_in_float(demo: Demo, tmp_path: Path) -> None:
    options = FloatBlocksOptions(max_map_drop=1.5, min_speedup=0.01, images=12, options={"threads": 1, "tune": False})
    worker = Worker(
        tmp_path, "float_blocks", options, FloatBlocksInputs(demo.base, demo.model, demo.images, demo.labels)
    )
    made: ExportedModel = worker.done()
    content = json.loads(made.path(FLOAT_BLOCKS_FILE).read_text())
    assert content["int8_drop"] > options.max_map_drop
    ranked = content["ranking"]["blocks"]
    assert ranked[0]["block"] == BLOCK
    assert ranked[0]["distance"] == max(one["distance"] for one in ranked)
    assert [one["block"] for one in content["blocks"]] == [BLOCK]
    assert content["met"] and content["map_drop"] <= options.max_map_drop
    assert content["blocks"][0]["gain"] == pytest.approx(content["int8_drop"] - content["map_drop"])
    assert content["speedup"] > 0
    assert {"model.onnx", "model.pdmodel", "model.pdiparams", "infer_cfg.yml", "sensitivity.png"} < set(made.files)
    assert any(f"left in float: {BLOCK}" in text for text in worker.said("info"))
    assert worker.metrics("blocks") == [1.0]
    # The same model for every backend: the convolutions of this block have float weights, all others have none.
    import onnx

    graph = onnx.load(str(made.path("model.onnx"))).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    floats = [node for node in graph.node if node.op_type == "Conv" and makers.get(node.input[1]) != "DequantizeLinear"]
    assert len(floats) == 2 + 3  # the block, and the box projection of each level
