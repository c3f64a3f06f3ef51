"""The passes that lay numbers out differently: the same outputs, up to the order of a sum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from stages.lowering.graph import Graph
from stages.lowering.layout import fold_image, pad_image_channels, projection_to_sum, softmax_last
from stages.lowering.passes import lower
from stages.lowering.weights import fold_weights
from tests.stages.qdq import Build, count, run, two_convs
from tests.stages.recipes import RECIPES

BINS = 17


def distances(**projection: list[int]) -> onnx.ModelProto:
    """logits -> expected distance to each of four box edges, as PP-YOLOE computes it; times one more reader."""
    b = Build(("logits", [1, 4 * BINS, 6, 5]))
    folded = b.node("Reshape", "logits", b.const([-1, 4, BINS, 30], np.int64))
    soft = b.node("Softmax", b.node("Transpose", folded, perm=[0, 2, 3, 1]), axis=1)
    steps = b.const(np.arange(BINS, dtype=np.float32).reshape(1, BINS, 1, 1))
    expected = b.node("Conv", soft, steps, **(projection or {"kernel_shape": [1, 1], "strides": [1, 1]}))
    b.node("Squeeze", expected, b.const([1], np.int64), out="edges")
    return b.model(edges=[1, 30, 4])


def test_the_expectation_is_taken_along_the_last_axis() -> None:
    model = distances()
    moved, report = softmax_last(model)
    assert report.counts == {"projections_moved": 1}
    assert count(moved, "Conv") == 0 and count(moved, "MatMul") == 1
    (softmax,) = Graph(moved).of_type("Softmax")
    assert {a.name: a.i for a in softmax.attribute} == {"axis": 3}
    (before,), (after,) = run(model), run(moved)
    assert before.shape == after.shape == (1, 30, 4)
    assert before.min() > 2 and before.max() < 15  # of 16: the sums are not trivial
    np.testing.assert_allclose(after, before, rtol=1e-5)


def test_a_projection_that_is_more_than_a_product_stays() -> None:
    for other in ({"strides": [2, 1]}, {"pads": [0, 1, 0, 1]}):
        _, report = softmax_last(distances(kernel_shape=[1, 1], **other))
        assert report.counts == {}


def test_the_expectation_can_be_a_sum_that_no_convolution_follows() -> None:
    model = distances()
    moved, report = projection_to_sum(model)
    assert report.counts == {"projections": 1}
    assert count(moved, "Conv") == 0 and count(moved, "ReduceSum") == 1
    (before,), (after,) = run(model), run(moved)
    np.testing.assert_allclose(after, before, rtol=1e-5)
    _, report = projection_to_sum(distances(kernel_shape=[1, 1], pads=[0, 1, 0, 1]))
    assert report.counts == {}


def test_a_softmax_that_others_read_stays() -> None:
    b = Build(("logits", [1, 4, 6, 5]))
    soft = b.node("Softmax", b.node("Transpose", "logits", perm=[0, 3, 1, 2]), axis=1)
    conv = b.node("Conv", soft, b.const(np.ones((1, 5, 1, 1))))
    b.node("Add", soft, conv, out="y")
    _, report = softmax_last(b.model(y=[1, 5, 4, 6]))
    assert report.counts == {}


@pytest.mark.parametrize("optimized", [False, True])
def test_the_image_gets_a_channel_of_nothing(optimized: bool) -> None:
    model, _ = fold_weights(two_convs())
    padded, report = pad_image_channels(model)
    assert report.counts == {"images_padded": 1}
    graph = Graph(padded)
    shapes = []
    for conv in graph.of_type("Conv"):
        back = graph.producer(conv.input[1])
        assert back is not None
        weight = graph.constant(back.input[0])
        assert weight is not None
        shapes.append(weight.shape)
    assert sorted(shapes) == [(8, 4, 3, 3), (8, 8, 3, 3)]
    for before, after in zip(run(model, optimized=optimized), run(padded, optimized=optimized), strict=True):
        assert np.abs(before).max() > 0
        np.testing.assert_array_equal(before, after)


def test_an_image_that_fills_a_dot_product_is_left_alone() -> None:
    padded, _ = pad_image_channels(fold_weights(two_convs())[0])
    _, report = pad_image_channels(padded)
    assert report.counts == {}


def stem(channels: int = 3, size: tuple[int, int] = (16, 12), **attributes: list[int]) -> onnx.ModelProto:
    """A quantized image with a zero point -> a quantized convolution of 3x3 with stride 2, as detectors begin."""
    rng = np.random.default_rng(3)
    b = Build(("image", [2, channels, *size]))
    weight = rng.standard_normal((8, channels, 3, 3)).astype(np.float32)
    scale = np.abs(weight).max(axis=(1, 2, 3)) / 127
    w = b.qdq(b.const(weight), scale, axis=0)
    x = b.qdq("image", 0.02, zero=100, kind=np.uint8)
    plain = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    y = b.node("Conv", x, w, b.int32(rng.integers(-300, 300, 8), scale * np.float32(0.02)), **{**plain, **attributes})
    b.node("Identity", b.qdq(y, 0.05), out="out")
    half = [2, 8, (size[0] + 1) // 2, (size[1] + 1) // 2]
    return fold_weights(b.model(out=half))[0]


@pytest.mark.parametrize("channels", [3, 1, 4])
def test_a_folded_image_gives_the_same_outputs(channels: int) -> None:
    model = stem(channels)
    folded, report = fold_image(model)
    assert report.counts == {"images_folded": 1}
    (conv,) = Graph(folded).of_type("Conv")
    assert {a.name: list(a.ints) for a in conv.attribute} == {
        "kernel_shape": [2, 2], "strides": [1, 1], "pads": [1, 1, 0, 0],
    }  # fmt: skip
    (before,), (after,) = run(model), run(folded)
    assert before.shape == after.shape == (2, 8, 8, 6) and np.abs(before).max() > 1
    # The same products, added in another order: no more than a rounding may tip over.
    assert np.abs(before - after).max() <= 0.05 + 1e-6 and np.mean(before != after) < 0.01


def test_only_a_first_convolution_that_halves_is_folded() -> None:
    odd = stem(size=(15, 12))
    other = stem(pads=[0, 0, 2, 2])
    for model in (odd, other, fold_weights(two_convs())[0]):
        assert fold_image(model)[1].counts == {}


def test_the_padded_convolution_still_runs_in_integers(tmp_path: Path) -> None:
    """Pad between QuantizeLinear and DequantizeLinear must not keep ONNX Runtime from fusing."""
    lowered, _ = lower(two_convs(), RECIPES["onnxruntime"])
    settings = ort.SessionOptions()
    settings.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    settings.log_severity_level = 3
    ort.InferenceSession(lowered.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    optimized = onnx.load(settings.optimized_model_filepath)
    assert count(optimized, "QLinearConv") == 2 and count(optimized, "Conv", "FusedConv") == 0
    assert count(optimized, "Pad") == 1
