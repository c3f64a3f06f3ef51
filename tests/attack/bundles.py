"""Bundles made by hand: with digests that fit whatever is in them, with an engine that works or with none."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from onnx import helper, numpy_helper

from stages.bundle.contents import unpack
from stages.bundle.engine import open_engine
from stages.detection.sidecar import Sidecar
from tests.stages import qdq

ENGINE = b"no engine at all"
SIDECAR = b"""\
mode: paddle
draw_threshold: 0.5
arch: YOLO
label_list: [a]
Preprocess:
- {type: Resize, target_size: [64, 64], keep_ratio: false, interp: 2}
- {type: NormalizeImage, mean: [0, 0, 0], std: [1, 1, 1], is_scale: true}
- {type: Permute}
"""
FILES = {"model.onnx": hashlib.sha256(ENGINE).hexdigest(), "infer_cfg.yml": hashlib.sha256(SIDECAR).hexdigest()}
RECORD: dict[str, Any] = {
    "schema_version": 1, "run_id": "1", "model": "m", "backend": "onnxruntime", "precision": "int8",
    "engine": {"$type": "Engine", "files": FILES, "main": "model.onnx", "backend": "onnxruntime",
               "precision": "int8", "input_size": [64, 64], "batch": 1, "scale_factor": False, "image_input": "image",
               "scale_input": "", "boxes_output": "boxes", "scores_output": "scores", "root": ""},
    "nms": {}, "draw_threshold": 0.5, "promised": {"map": None}, "hardware": "h", "versions": {"detpress": "1"},
}  # fmt: skip
EXPECTED = [{"file": "000.png", "detections": [{"class": 0, "label": "a", "score": 0.5, "box": [1.0, 1.0, 4.0, 4.0]}]}]
LABELS: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0}],
    "categories": [{"id": 1, "name": "a"}],
}


def bundle(record: Any = RECORD, expected: Any = EXPECTED, more: Mapping[str, bytes] | None = None) -> bytes:
    """A zip file as `detpress bundle` makes it, with digests that fit whatever is in it. The engine is none."""
    files = {
        "bundle.json": json.dumps(record).encode(),
        "engine/model.onnx": ENGINE,
        "engine/infer_cfg.yml": SIDECAR,
        "golden/expected.json": json.dumps(expected).encode(),
        "golden/000.png": b"no picture",
        **(more or {}),
    }
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
    return zipped({**files, "SHA256SUMS": sums.encode()})


def zipped(files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def encrypted(whole: bytes) -> bytes:
    """The same zip file, with the flag of every entry that says that it needs a password."""
    made = bytearray(whole)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = whole.find(signature)
        while at >= 0:
            made[at + offset] |= 1
            at = whole.find(signature, at + 1)
    return bytes(made)


# --- with an engine that works ---------------------------------------------------------------------------------------

SIZE, CLASSES = 32, ["a", "b", "c"]


@functools.cache
def graph() -> bytes:
    """ONNX of a small detector, whose boxes are nine pixels wide."""
    model = qdq.detector(SIZE, len(CLASSES), quantized=False)
    end = next(node for node in model.graph.node if "boxes" in node.output)
    end.output[:] = ["points"]
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 9, 9], np.float32), "width"))
    model.graph.node.append(helper.make_node("Add", ["points", "width"], ["boxes"]))
    made: bytes = model.SerializeToString()
    return made


@functools.cache
def picture() -> bytes:
    """A PNG of noise."""
    pixels = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


def sidecar() -> dict[str, Any]:
    """The content of its infer_cfg.yml."""
    plain = Sidecar((SIZE, SIZE), labels=tuple(CLASSES), boxes_output="boxes", scores_output="scores").as_dict()
    return json.loads(json.dumps(plain))  # type: ignore[no-any-return]


def record() -> dict[str, Any]:
    """Its bundle.json."""
    files = {"model.onnx": graph(), "infer_cfg.yml": yaml.safe_dump(sidecar()).encode()}
    engine = {
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "input_size": [SIZE, SIZE],
        "scale_factor": True,
        "scale_input": "scale_factor",
        "precision": "fp32",
    }
    return {
        **RECORD,
        "engine": {**RECORD["engine"], **engine, "options": {"threads": 1}},
        "promised": {"map": 40.0, "median_ms": 1.5, "golden_map": 30.0},
    }


def working(
    *,
    engine: Mapping[str, bytes] | None = None,
    main: str = "model.onnx",
    backend: str = "onnxruntime",
    said: Mapping[str, Any] | None = None,
    config: Any = None,
    expected: Any = None,
    labels: Any = None,
) -> bytes:
    """A bundle that does what it promises, but for what is given; its digests are right.

    Args:
        engine: the engine's files, ``main`` among them.
        said: the record.
        config: of infer_cfg.yml.
        expected, labels: golden/expected.json, golden/annotations.json.
    """
    files = {
        **(engine or {main: graph()}),
        "infer_cfg.yml": yaml.safe_dump(sidecar() if config is None else config).encode(),
    }
    content = dict(said or record())
    if said is None:
        digests = {name: hashlib.sha256(file).hexdigest() for name, file in files.items()}
        content["engine"] = content["engine"] | {"files": digests, "main": main, "backend": backend}
    more = {
        **{f"engine/{name}": file for name, file in files.items()},
        "golden/000.png": picture(),
        "golden/annotations.json": json.dumps(golden_labels() if labels is None else labels).encode(),
    }
    return bundle(content, found() if expected is None else expected, more)


@functools.cache
def _found() -> str:
    with tempfile.TemporaryDirectory() as folder:
        zip_file = Path(folder) / "b.zip"
        zip_file.write_bytes(working(expected=[{"file": "000.png", "detections": []}]))
        opened = unpack(zip_file, Path(folder) / "b")
        with open_engine(opened) as detector:
            (seen,) = detector.runner.over([opened.image(opened.golden()[0])])
            detections = detector.as_json(seen.detections(detector.nms), 0.05)
    return json.dumps([{"file": "000.png", "detections": detections}])


def found() -> Any:
    """What the engine finds in the golden image, as expected.json has it."""
    return json.loads(_found())


def golden_labels() -> dict[str, Any]:
    """Labels of the golden image."""
    return {
        "images": [{"id": 7, "file_name": "000.png", "width": 24, "height": 24}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)],
    }
