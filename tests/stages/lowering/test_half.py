"""FP16 in the graph: what becomes of it, what stays in FP32, and that it computes the same but for its digits."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from stages.lowering.half import OPSET, to_half
from stages.lowering.magnitudes import largest
from stages.lowering.passes import lower
from tests.stages.engines import CLASSES, SIZE
from tests.stages.qdq import Array, Build, detector


def run(model: onnx.ModelProto, **feeds: Array) -> list[Array]:
    """As the file says, node by node: ONNX Runtime's fusions of FP16 quantizers on a CPU give other numbers."""
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), settings, ["CPUExecutionProvider"])
    found: list[Array] = session.run(None, feeds)
    return found


def types(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    return {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}


@pytest.mark.parametrize("quantized", [False, True])
def test_a_detector_computes_the_same_in_half_the_digits(quantized: bool) -> None:
    model = detector(SIZE, CLASSES, quantized=quantized)
    if quantized:
        model, _ = lower(model, ("lift_zero_scales", "float_tail", "fold_weights", "fold_bias"))
    half, report = to_half(model)
    onnx.checker.check_model(half, full_check=True)
    assert half.opset_import[0].version == OPSET and report.counts["half"] > 5
    found = types(half)
    for name in ("image", "scale_factor", "boxes", "scores"):
        assert found[name] == TensorProto.FLOAT
    convolutions = [node for node in half.graph.node if node.op_type == "Conv"]
    assert convolutions and {found[node.output[0]] for node in convolutions} == {TensorProto.FLOAT16}
    rng = np.random.default_rng(0)
    feeds = {
        "image": rng.standard_normal((1, 3, SIZE, SIZE)).astype(np.float32),
        "scale_factor": np.ones((1, 2), np.float32),
    }
    for one, other in zip(run(model, **feeds), run(half, **feeds), strict=True):
        assert other.dtype == np.float32
        assert 0 < np.abs(one - other).max() <= (0.06 if quantized else 0.01)


def small(scale: float, weight: float) -> onnx.ModelProto:
    """x -> quantized by ``scale`` -> a product with ``weight`` -> Softmax -> a sum."""
    graph = Build(("x", [1, 4]))
    step = graph.qdq("x", scale)
    times = graph.node("Mul", step, graph.const([weight]))
    soft = graph.node("Softmax", times, axis=1)
    graph.node("Add", soft, graph.const([512.25]), out="y")
    return graph.model(y=[1, 4])


def test_what_is_decoded_behind_a_softmax_stays_in_fp32() -> None:
    half, report = to_half(small(0.1, 2.0))
    found = types(half)
    by_kind = {node.op_type: found.get(node.output[0]) for node in half.graph.node}
    assert by_kind["Mul"] == by_kind["DequantizeLinear"] == TensorProto.FLOAT16
    assert by_kind["Softmax"] == by_kind["Add"] == TensorProto.FLOAT
    assert report.counts["kept"] == 2 and report.remarks == []
    x = np.float32([[0.1, 0.2, -0.4, 0.3]])
    assert np.allclose(run(half, x=x)[0], run(small(0.1, 2.0), x=x)[0], atol=1e-3)


@pytest.mark.parametrize(
    ("scale", "weight", "kept", "why"),
    [
        (0.1, 1e6, "Mul", "holds 1e+06"),
        (1e-5, 2.0, "DequantizeLinear", "its smallest step is 1e-05"),
    ],
)
def test_a_layer_whose_constants_do_not_fit_stays_in_fp32_and_is_named(
    scale: float, weight: float, kept: str, why: str
) -> None:
    half, report = to_half(small(scale, weight))
    onnx.checker.check_model(half, full_check=True)
    found = types(half)
    assert {found.get(n.output[0]) for n in half.graph.node if n.op_type == kept} == {TensorProto.FLOAT}
    assert report.remarks and all("stays in FP32" in remark for remark in report.remarks)
    assert any(why in remark for remark in report.remarks)
    x = np.float32([[1e-4, 2e-4, -4e-4, 3e-4]])
    assert np.allclose(run(half, x=x)[0], run(small(scale, weight), x=x)[0], rtol=1e-3)


def test_a_layer_whose_numbers_are_too_large_on_real_images_stays_in_fp32_with_its_neighbours() -> None:
    """x times 1000 -> plus one -> times 1e-3 -> negated: between stands what is too large for FP16, not at the ends."""
    graph = Build(("x", [1, 4]))
    up = graph.node("Mul", "x", graph.const([1000.0]), out="up")
    plus = graph.node("Add", up, graph.const([1.0]), out="plus")
    down = graph.node("Mul", plus, graph.const([1e-3]), out="down")
    graph.node("Neg", down, out="y")
    model = graph.model(y=[1, 4])
    x = np.float32([[90, -80, 70, 0.5]])
    blind = to_half(model)[0]  # ONNX Runtime on a CPU computes it in FP32 all the same, so only the types tell
    assert {types(blind)[n.output[0]] for n in blind.graph.node if n.op_type == "Add"} == {TensorProto.FLOAT16}
    half, report = to_half(model, largest(model, [{"x": x}]))
    found = types(half)
    kinds = [found.get(node.output[0]) for node in half.graph.node if node.op_type in ("Mul", "Add")]
    assert kinds == [TensorProto.FLOAT] * 3
    assert report.counts["half"] == 1 and len(report.remarks) == 3
    assert any("plus reaches 9e+04 on real images" in remark for remark in report.remarks)
    assert np.allclose(run(half, x=x)[0], run(model, x=x)[0], rtol=1e-3)


def test_means_and_sums_are_made_in_fp32() -> None:
    """25,600 numbers of 3 sum to more than FP16 holds, and a GPU adds them so."""
    graph = Build(("x", [1, 2, 160, 160]))
    relu = graph.node("Relu", "x")
    mean = graph.node("ReduceMean", relu, axes=[2, 3], keepdims=1)
    graph.node("Mul", mean, graph.const([2.0]), out="y")
    half, _ = to_half(graph.model(y=[1, 2, 1, 1]))
    found = types(half)
    by_kind = {node.op_type: found.get(node.output[0]) for node in half.graph.node}
    assert by_kind["ReduceMean"] == TensorProto.FLOAT and by_kind["Relu"] == by_kind["Mul"] == TensorProto.FLOAT16
    assert run(half, x=np.full((1, 2, 160, 160), 3, np.float32))[0] == pytest.approx(6)
