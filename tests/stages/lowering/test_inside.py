"""NMS and the normalisation of pixels in a graph do what they do outside of it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from stages.detection.nms import multiclass_nms
from stages.detection.preprocess import Pixels, Preprocessor
from stages.detection.sidecar import Sidecar
from stages.errors import StageError
from stages.lowering.inside import PLUGIN, PLUGIN_DOMAIN, ROWS, with_nms, with_nms_rows, with_pixels
from stages.options.accuracy import NmsOptions
from stages.options.export import NMS_OUTPUTS
from tests.stages.qdq import Array, detector

CLASSES, ANCHORS = 4, 60


def head(batch: int = 1) -> onnx.ModelProto:
    """A graph whose outputs are its inputs: what NMS gets is the test's to say."""
    shapes = {"boxes": [batch, ANCHORS, 4], "scores": [batch, CLASSES, ANCHORS]}
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"given_{name}"], [name]) for name in shapes],
        "head",
        [helper.make_tensor_value_info(f"given_{name}", TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def crowd(batch: int, seed: int = 0) -> tuple[Array, Array]:
    """Boxes on a small field, so that many overlap, and scores that all differ."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 40, (batch, ANCHORS, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (batch, ANCHORS, 2))], axis=2)
    scores = rng.permuted(np.linspace(0, 1, batch * CLASSES * ANCHORS)).reshape(batch, CLASSES, ANCHORS)
    return boxes.astype(np.float32), scores.astype(np.float32)


def run(model: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    import onnxruntime as ort

    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(None, feeds)
    return found


def rows(outputs: list[Array], image: int) -> Array:
    count = int(outputs[0][image, 0])
    boxes, scores, labels = (out[image, :count] for out in outputs[1:])
    return np.concatenate([labels[:, None], scores[:, None], boxes], axis=1).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "nms",
    [
        NmsOptions(),
        NmsOptions(keep_top_k=7),
        NmsOptions(nms_threshold=0.3, score_threshold=0.5),
        NmsOptions(score_threshold=0.999, keep_top_k=5),
        NmsOptions(nms_threshold=1.0, keep_top_k=400),
    ],
)
def test_it_finds_to_the_last_bit_what_nms_outside_finds(nms: NmsOptions, batch: int) -> None:
    model = with_nms(head(batch), nms, "boxes", "scores")
    assert [value.name for value in model.graph.output] == list(NMS_OUTPUTS)
    boxes, scores = crowd(batch)
    outputs = run(model, {"given_boxes": boxes, "given_scores": scores})
    assert [(out.shape, out.dtype.name) for out in outputs] == [
        ((batch, 1), "int32"),
        ((batch, nms.keep_top_k, 4), "float32"),
        ((batch, nms.keep_top_k), "float32"),
        ((batch, nms.keep_top_k), "int32"),
    ]
    for image in range(batch):
        expected = multiclass_nms(boxes[image], scores[image], nms)
        assert np.array_equal(rows(outputs, image), expected)
        rest = [out[image, len(expected) :] for out in outputs[1:]]
        assert [set(np.unique(part).tolist()) - {value} for part, value in zip(rest, (0, 0, -1), strict=True)] == [
            set()
        ] * 3


def test_nothing_above_the_threshold_is_no_detection() -> None:
    boxes, scores = crowd(1)
    outputs = run(
        with_nms(head(), NmsOptions(), "boxes", "scores"), {"given_boxes": boxes, "given_scores": scores * 0.001}
    )
    assert outputs[0].tolist() == [[0]] and not outputs[1].any() and not outputs[2].any() and (outputs[3] == -1).all()


@pytest.mark.parametrize("batch", [1, 2])
def test_rows_are_those_of_paddles_operator(batch: int) -> None:
    nms = NmsOptions(score_threshold=0.6)
    model = with_nms_rows(head(batch), nms, "boxes", "scores")
    assert [value.name for value in model.graph.output] == list(ROWS)
    boxes, scores = crowd(batch)
    table, counts = run(model, {"given_boxes": boxes, "given_scores": scores})
    expected = [multiclass_nms(boxes[i], scores[i], nms) for i in range(batch)]
    assert counts.dtype == np.int32 and counts.tolist() == [len(each) for each in expected]
    assert np.array_equal(table, np.concatenate(expected))


def test_the_plug_in_gets_the_thresholds() -> None:
    nms = NmsOptions(score_threshold=0.25, nms_threshold=0.5, keep_top_k=20)
    model = with_nms(detector(classes=5), nms, "boxes", "scores", plugin=True)
    (node,) = [node for node in model.graph.node if node.op_type == PLUGIN]
    said = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    assert (said["score_threshold"], said["iou_threshold"], said["max_output_boxes"]) == (0.25, 0.5, 20)
    assert (said["background_class"], said["class_agnostic"], said["score_activation"], said["box_coding"]) == (
        (-1, 0, 0, 0)
    )
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.output}
    assert shapes == {"num_dets": [1, 1], "boxes": [1, 20, 4], "scores": [1, 20], "labels": [1, 20]}
    transposed = next(each for each in model.graph.node if each.output[0] == node.input[1])
    assert transposed.op_type == "Transpose" and transposed.input[0] == "scores/raw"
    assert [each.domain for each in model.opset_import] == ["", PLUGIN_DOMAIN]


@pytest.mark.parametrize(
    "changes", [{}, {"scale": False, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}, {"mean": (0.1, 0.2, 0.3)}]
)
def test_pixels_become_what_preprocessing_makes_of_them(changes: dict[str, Any]) -> None:
    sidecar = Sidecar(input_size=(64, 64), **changes)
    plain = detector(quantized=False, batch=2)
    model = with_pixels(plain, "image", sidecar)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (48 + 16 * i, 80, 3), dtype=np.uint8) for i in range(2)]
    (tensors, scales), (pixels, also) = Preprocessor(sidecar).batch(images), Pixels(sidecar).batch(images)
    assert np.array_equal(scales, also) and pixels.shape == (2, 64, 64, 3) and pixels.dtype == np.uint8
    assert np.array_equal(pixels[0], cv2.resize(images[0], (64, 64), interpolation=cv2.INTER_CUBIC)[:, :, ::-1])
    expected = run(plain, {"image": tensors, "scale_factor": scales})
    for one, other in zip(run(model, {"image": pixels, "scale_factor": scales}), expected, strict=True):
        assert np.abs(one - other).max() <= 1e-5 * max(1.0, float(np.abs(other).max()))


def test_the_model_that_was_given_stays_as_it_is() -> None:
    model = detector()
    before = model.SerializeToString()
    with_pixels(with_nms(model, NmsOptions(), "boxes", "scores"), "image", Sidecar(input_size=(64, 64)))
    assert model.SerializeToString() == before


def test_a_graph_without_such_inputs_or_outputs_is_refused() -> None:
    with pytest.raises(StageError, match="no output 'b'"):
        with_nms(detector(), NmsOptions(), "b", "scores")
    with pytest.raises(StageError, match="no image input 'picture'"):
        with_pixels(detector(), "picture", Sidecar(input_size=(64, 64)))
