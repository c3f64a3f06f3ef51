"""Exported models and label sets small enough to build engines of in a test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx

from stages.contract import ExportedModel, LabeledSet, Precision, hash_files
from stages.detection.sidecar import FILE_NAME, Sidecar
from tests.stages.qdq import detector

SIZE, CLASSES = 64, 12  # 4 + 12 channels fill the blocks of every layout


def exported(folder: Path, precision: Precision, batch: int = 1) -> ExportedModel:
    """The stand-in detector as the export stage would leave it."""
    folder.mkdir(parents=True, exist_ok=True)
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


def labelled(folder: Path, count: int = 3) -> LabeledSet:
    """Random images of different sizes, without boxes."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    entries = []
    for i in range(count):
        image = rng.integers(0, 255, (48 + 16 * i, 80, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{i}.png"), image)
        entries.append({"id": i, "file_name": f"{i}.png", "width": 80, "height": 48 + 16 * i})
    labels = {"images": entries, "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    (folder / "annotations.json").write_text(json.dumps(labels))
    return LabeledSet(
        root=folder,
        files=hash_files(folder, ["annotations.json"]),
        images_root=str(folder),
        images=count,
        boxes=0,
        images_digest="x",
    )
