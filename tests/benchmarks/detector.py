"""A 640x640 detector whose outputs are known, as an ONNX Runtime engine: convolutions, then fixed boxes and scores.

What an engine finds decides how long NMS takes. Here, as on a photograph with twelve objects: 8400 anchors, 80 classes,
some 60 anchors around each object with scores up to 0.9 and a few similar classes, and 3000 faint scores elsewhere.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from stages.artifacts import Engine, ImageList, Precision, hash_files, sha256_of
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.lowering.inside import with_nms, with_pixels
from stages.options.export import Inside

SIZE, CLASSES, ANCHORS, OBJECTS = 640, 80, 8400, 12


def outputs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(boxes float32 [1, 8400, 4], scores float32 [1, 80, 8400])."""
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 600, (ANCHORS, 2)), rng.uniform(10, 120, (ANCHORS, 2))
    boxes = np.concatenate([corner, corner + size], axis=1)
    scores = rng.uniform(0, 0.008, (CLASSES, ANCHORS))
    scores[rng.integers(0, CLASSES, 3000), rng.integers(0, ANCHORS, 3000)] = rng.uniform(0.01, 0.06, 3000)
    for number in range(OBJECTS):
        near = slice(number * 60, number * 60 + 60)
        box = np.array([*rng.uniform(0, 400, 2), *rng.uniform(440, 640, 2)])
        boxes[near] = box + rng.normal(0, 6, (60, 4))
        scores[rng.integers(0, CLASSES), near] = np.linspace(0.9, 0.05, 60)
        for similar in rng.integers(0, CLASSES, 3):
            scores[similar, near] = np.linspace(0.12, 0.01, 60)
    return boxes[None].astype(np.float32), scores[None].astype(np.float32)


def engine(folder: Path, inside: Inside | None = None) -> Engine:
    """The engine's files in ``folder``; it takes some milliseconds a run on one thread.

    Args:
        inside: what it does itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    boxes, scores = outputs()
    constants = {
        "first": rng.normal(0, 0.1, (32, 3, 3, 3)).astype(np.float32),
        "second": rng.normal(0, 0.1, (32, 32, 3, 3)).astype(np.float32),
        "boxes_of": boxes,
        "scores_of": scores,
        "nothing": np.zeros(1, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("ReduceMean", ["c"], ["mean"], keepdims=0),
        helper.make_node("ReduceMean", ["scale_factor"], ["scale"], keepdims=0),
        helper.make_node("Add", ["mean", "scale"], ["both"]),
        helper.make_node("Mul", ["both", "nothing"], ["zero"]),
        helper.make_node("Add", ["boxes_of", "zero"], ["boxes"]),
        helper.make_node("Add", ["scores_of", "zero"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE]),
         helper.make_tensor_value_info("scale_factor", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, list(boxes.shape)),
         helper.make_tensor_value_info("scores", TensorProto.FLOAT, list(scores.shape))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    labels = tuple(f"class {i}" for i in range(CLASSES))
    sidecar = Sidecar(input_size=(SIZE, SIZE), labels=labels, boxes_output="boxes", scores_output="scores")
    sidecar.write(folder / FILE_NAME)
    if inside is not None and inside.nms is not None:
        model = with_nms(model, inside.nms, "boxes", "scores")
    if inside is not None and inside.preprocess:
        model = with_pixels(model, "image", sidecar)
    onnx.save(model, str(folder / "model.onnx"))
    return Engine(
        root=folder, files=hash_files(folder), backend="onnxruntime", precision=Precision.FP32, main="model.onnx",
        input_size=[SIZE, SIZE], batch=1, scale_factor=True, image_input="image", scale_input="scale_factor",
        boxes_output="boxes", scores_output="scores", options={"threads": 1}, inside=inside,
    )  # fmt: skip


def photographs(folder: Path, count: int = 4) -> ImageList:
    """Images of the size of COCO's, 640x480."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2)
    entries = []
    for i in range(count):
        path = folder / f"{i}.jpg"
        coarse = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC))
        entries.append({"path": str(path), "sha256": sha256_of(path), "width": 640, "height": 480})
    (folder / "images.json").write_text(json.dumps(entries))
    return ImageList(root=folder, files=hash_files(folder, ["images.json"]), count=count)
