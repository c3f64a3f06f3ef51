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
