"""Parameters and multiply-adds, from a configuration (as PaddleDetection publishes them) and from an ONNX file."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from stages.detection.size import count, parameters, size_of
from stages.distillation.distill import DistillInputs
from stages.options.model import ModelOptions
from tests.stages import detectors
from tests.stages.paddle.models.test_models import compose

GFLOPS = {"ppyoloe_s": 17.36, "ppyoloe_m": 49.91, "ppyoloe_l": 110.07, "ppyoloe_x": 206.59}
"""As PaddleDetection publishes them, a multiplication and an addition counted apart, at 640x640."""
BINS = 17
"""Of a distance: numbers that are weights in the file and counted from 0 in the configuration."""


def options(name: str, **changes: Any) -> ModelOptions:
    return ModelOptions(**{**compose(name), **changes})


@pytest.mark.parametrize("name", GFLOPS)
def test_a_configuration_has_what_is_published(name: str) -> None:
    model = options(name)
    found = size_of(model)
    assert found is not None
    assert found.parameters == pytest.approx(model.parameters, rel=0.01)
    assert 2e-9 * found.multiply_adds == pytest.approx(GFLOPS[name], rel=0.01)


def test_it_grows_with_the_image() -> None:
    large, small = (size_of(options("ppyoloe_s", input_size=[side, side])) for side in (640, 320))
    assert large is not None and small is not None and large.parameters == small.parameters
    assert large.multiply_adds == pytest.approx(4 * small.multiply_adds, rel=0.01)


def test_of_another_architecture_nothing_is_said() -> None:
    model = options("ppyoloe_s")
    assert size_of(replace(model, architecture={**model.architecture, "YOLOv3": {"backbone": "DarkNet"}})) is None
    less = {name: value for name, value in model.architecture.items() if name != "CSPResNet"}
    assert size_of(replace(model, architecture=less)) is None


def small() -> onnx.ModelProto:
    """A convolution with a bias behind it, a batch norm, and a table of anchors."""
    arrays = {
        "w": np.zeros((4, 3, 1, 1), np.float32), "bias": np.zeros((1, 4, 1, 1), np.float32),
        **{name: np.ones(4, np.float32) for name in ("scale", "shift", "mean", "variance")},
        "anchors": np.zeros((1, 4, 8, 8), np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Add", ["c", "bias"], ["d"]),
        helper.make_node("BatchNormalization", ["d", "scale", "shift", "mean", "variance"], ["e"]),
        helper.make_node("Mul", ["e", "anchors"], ["y"]),
    ]
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, c, 8, 8]) for n, c in (("x", 3), ("y", 4))]
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    return helper.make_model(helper.make_graph(nodes, "g", value[:1], value[1:], tensors))


def test_weights_and_biases_of_a_file_count_and_tables_do_not() -> None:
    assert count(small()) == 12 + 4 + 8


@pytest.mark.slow
def test_the_file_has_what_its_configuration_has(fp32: DistillInputs) -> None:
    """But for batch normalization, which has a scale and a shift where a folded convolution has a bias."""
    file, found = fp32.model.path("model.onnx"), size_of(detectors.model())
    graph = onnx.load(str(file)).graph
    shapes = {node.output[0]: node.attribute[0].t.dims for node in graph.node if node.op_type == "Constant"}
    shapes |= {tensor.name: tensor.dims for tensor in graph.initializer}
    normalized = sum(math.prod(shapes[n.input[1]]) for n in graph.node if n.op_type == "BatchNormalization")
    assert found is not None and normalized > 100
    assert parameters(file) == found.parameters + normalized + BINS
