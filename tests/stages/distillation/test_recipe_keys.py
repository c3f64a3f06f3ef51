"""What recipes of others ask for beside training: layers left in float, images to calibrate on, a target."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stages.artifacts import LAYERS_FILE, ImageList, hash_files
from stages.build.build import Build, BuildInputs
from stages.distillation.distill import Distill, DistillInputs
from stages.errors import ConfigError
from stages.options.backend import BuildOptions
from stages.options.compression import DistillOptions
from tests.fakes import FakeContext
from tests.stages.detectors import model
from tests.stages.distillation.test_distill import options, ranges_of, to_onnx
from tests.stages.workers import Worker


def float_convolutions(graph: Any) -> dict[str, Any]:
    """Of an ONNX graph: the name of its weights -> each convolution with weights in float."""
    producers = {output: node.op_type for node in graph.node for output in node.output}
    nodes = [node for node in graph.node if node.op_type == "Conv"]
    return {node.input[1]: node for node in nodes if producers.get(node.input[1]) != "DequantizeLinear"}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ptq", "qat_distill"])
def test_skipped_tensors_leave_their_layers_in_float(method: str, fp32: DistillInputs, tmp_path: Path) -> None:
    layers = {layer: w for w, layer in json.loads(fp32.model.path(LAYERS_FILE).read_text()).items()}
    inner = layers["backbone.stages.1.blocks.0.conv1.conv"]  # between two that are quantized
    last = layers["yolo_head.pred_cls.0"]  # nothing behind it is
    given = options(method=method, steps=2, eval_every=None, skip_tensor_list=[inner, last])
    worker = Worker(tmp_path / "run", "distill", given, fp32)
    worker.done()
    made, content = to_onnx(worker, fp32.images, tmp_path / "onnx")
    graph = content.graph
    floats = float_convolutions(graph)
    skipped = {name: floats.pop(name) for name in (inner, last)}
    assert len(floats) == 1  # the fixed projection, as without skipping; the levels share its weights
    readers = {name: node.op_type for node in graph.node for name in node.input}
    for node in skipped.values():  # and what they compute is not rounded at once either
        assert readers[node.output[0]] != "QuantizeLinear"
    assert made.agreement["max_rel"] < 1
    engine = Build(BuildOptions(backend="onnxruntime", options={"tune": False}))
    built = engine.run(BuildInputs(model=made), FakeContext(tmp_path / "engine"))
    assert 0 < built.notes["audit"]["int8_share"] < 1


@pytest.mark.slow
def test_a_tensor_that_nothing_reads_is_named_with_those_there_are(fp32: DistillInputs, tmp_path: Path) -> None:
    name = next(iter(json.loads(fp32.model.path(LAYERS_FILE).read_text())))
    worker = Worker(tmp_path, "distill", options(method="ptq", skip_tensor_list=[f"{name}0"]), fp32)
    error = worker.failed()
    assert error["type"] == "ConfigError"
    assert (
        f"compression.skip_tensor_list: no operator that is quantized reads {name}0; did you mean" in error["message"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ptq", "qat_distill"])
def test_ranges_are_those_of_the_calibration_images(method: str, fp32: DistillInputs, tmp_path: Path) -> None:
    root = tmp_path / "dark"
    (root / "list").mkdir(parents=True)
    cv2.imwrite(str(root / "dark.png"), np.zeros((96, 96, 3), np.uint8))
    entries = [{"path": str(root / "dark.png"), "sha256": "", "width": 96, "height": 96}]
    (root / "list" / "images.json").write_text(json.dumps(entries))
    dark = ImageList(root=root / "list", files=hash_files(root / "list"), count=1)
    largest = {}
    for name, inputs in {"own": fp32, "dark": dataclasses.replace(fp32, calibration=dark)}.items():
        given = options(method=method, steps=1, eval_every=None, ptq_algo="abs_max", activation_ranges="abs_max")
        worker = Worker(tmp_path / name, "distill", given, inputs)
        assert worker.done().images == fp32.images.count  # what it learns from
        _, content = to_onnx(worker, fp32.images, tmp_path / f"{name}-onnx")
        largest[name] = ranges_of(content.graph)[0]  # the image's
    black = max(m / s for m, s in zip(model().mean, model().std, strict=True))
    assert largest["dark"] == pytest.approx(black, rel=1e-3) and largest["own"] > 1.1 * black


def test_a_target_needs_a_score_by_labels() -> None:
    unread: Any = None
    with pytest.raises(ConfigError, match=r"compression\.target_map: .* choose compression\.eval_by=map"):
        Distill(DistillOptions(target_map=40.0)).run(unread, unread)
