"""Exported models and label sets small enough to build engines of in a test."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path

import numpy as np
import onnx

from stages.artifacts import ExportedModel, ImageList, Precision, hash_files, sha256_of
from stages.detection.sidecar import FILE_NAME, Sidecar
from tests.stages import forks
from tests.stages.qdq import detector

SIZE, CLASSES = 64, 12  # 4 + 12 channels fill the blocks of every layout


@functools.cache
def _paddle_form(precision: Precision, batch: int) -> tuple[bytes, bytes]:
    """``model.pdmodel`` and ``model.pdiparams`` of the stand-in detector, made in a process that may load Paddle."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [folder, str(SIZE), str(CLASSES), precision.value, str(batch)]
        forks.run("tests.stages.paddle.standin", *arguments)
        return (Path(folder) / "model.pdmodel").read_bytes(), (Path(folder) / "model.pdiparams").read_bytes()


def exported(folder: Path, precision: Precision, batch: int = 1, paddle: bool = False) -> ExportedModel:
    """The stand-in detector as the export stage would leave it; with its Paddle program on request (takes seconds)."""
    folder.mkdir(parents=True, exist_ok=True)
    if paddle:
        program, params = _paddle_form(precision, batch)
        (folder / "model.pdmodel").write_bytes(program)
        (folder / "model.pdiparams").write_bytes(params)
    onnx.save(detector(SIZE, CLASSES, quantized=precision is Precision.INT8, batch=batch), str(folder / "model.onnx"))
    Sidecar(input_size=(SIZE, SIZE), labels=tuple("abcdefghijkl"), boxes_output="boxes", scores_output="scores").write(
        folder / FILE_NAME
    )
    return ExportedModel(
        root=folder,
        files=hash_files(folder),
        precision=precision,
        input_size=[SIZE, SIZE],
        batch=batch,
        boxes_output="boxes",
        scores_output="scores",
    )


def real_boxes(path: Path) -> None:
    """The stand-in's boxes have no width: make them boxes of about 20 pixels on a grid."""
    model = onnx.load(str(path))
    end = next(node for node in model.graph.node if "boxes" in node.output)
    count = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    side = int(count**0.5)
    spread = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 9, 0], [0, 0, 0, 9]], np.float32)
    grid = np.array([[i % side * 8, i // side * 8, i % side * 8 + 12, i // side * 8 + 12] for i in range(count)])
    for name, value in (("spread", spread), ("grid", grid.astype(np.float32)[None])):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    steps = [
        onnx.helper.make_node("MatMul", [end.input[0], "spread"], ["spread_out"]),
        onnx.helper.make_node("Add", ["spread_out", "grid"], ["grid_out"]),
    ]
    end.input[0] = "grid_out"
    others = [node for node in model.graph.node if "boxes" not in node.output]
    ordered = [*others, *steps, onnx.NodeProto.FromString(end.SerializeToString())]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def unlabeled(folder: Path, count: int = 3) -> ImageList:
    """Random images of different sizes."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    entries = []
    for i in range(count):
        image = rng.integers(0, 255, (48 + 16 * i, 80, 3), dtype=np.uint8)
        path = folder / f"{i}.png"
        cv2.imwrite(str(path), image)
        entries.append({"path": str(path), "sha256": sha256_of(path), "width": 80, "height": 48 + 16 * i})
    (folder / "images.json").write_text(json.dumps(entries))
    return ImageList(root=folder, files=hash_files(folder, ["images.json"]), count=count)
