"""Bundles, job stores and label files that somebody made by hand, or that were damaged on the way."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stages.detection.coco import check_coco, load_coco
from stages.errors import DataError
from tests.attack.attempt import Case, attempt, parameters, patience
from tests.attack.generate import STRANGE, TEXTS, changed, mutated, write_json

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


def _written(name: str, content: bytes) -> Any:
    def prepare(work: Path) -> None:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(content)

    return prepare


COMMANDS = (("verify", "b.zip"), ("predict", "b.zip", "a.png"))


def bundle_cases() -> Iterator[Case]:
    contents = {
        **TEXTS,
        "encrypted": encrypted(bundle()),
        "a file in a file": zipped({"a": b"", "a/b": b""}),
        "a long name": zipped({"x" * 5000: b""}),
        "a name that leads out": zipped({"../../x": b"planted"}),
        "an absolute name": zipped({"/x": b"planted"}),
        "sums that are no text": zipped({"bundle.json": b"{}", "SHA256SUMS": b"\xff"}),
        "another schema": bundle({**RECORD, "schema_version": 99}),
    }
    for name, content in contents.items():
        for words in COMMANDS:
            yield Case(f"{words[0]}: {name}", words, _written("b.zip", content))
    for name, make in STRANGE.items():
        for words in COMMANDS:
            yield Case(f"{words[0]}: {name}", words, lambda work, m=make: m(work / "b.zip"))  # type: ignore[misc]
    # Where the value does not matter, the engine is loaded; that it is none ends with 4.
    for name, record in changed(RECORD, 60, seed=3):
        yield Case(f"verify: record {name}", COMMANDS[0], _written("b.zip", bundle(record)), (2, 4))
    for name, expected in changed(EXPECTED, 30, seed=4):
        yield Case(f"verify: golden {name}", COMMANDS[0], _written("b.zip", bundle(expected=expected)), (2, 4))
    for i, content in enumerate(mutated(bundle(), 60, seed=5)):
        words = COMMANDS[i % 2]
        yield Case(f"{words[0]}: mutated {i}", words, _written("b.zip", content))


def store_cases() -> Iterator[Case]:
    """An empty file is none of them: to SQLite it is a database without tables."""
    for words in (("schedule", "list"), ("schedule", "remove", "a")):
        for name in sorted(TEXTS.keys() - {"empty"}):
            # The store cannot be read: that is code 4, as where its server does not answer.
            prepare = _written("artifacts/schedule/jobs.db", TEXTS[name])
            yield Case(f"{' '.join(words)}: {name}", words, prepare, (4,), ("artifacts/schedule/.jobs.db.lock",))


CASES = [*bundle_cases(), *store_cases()]


@pytest.mark.parametrize("case", parameters(CASES))
def test_a_bundle(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(case, tmp_path, monkeypatch)


LABEL_FILES = list(changed(LABELS, 80, seed=6))


@pytest.mark.parametrize("content", [c for _, c in LABEL_FILES], ids=[name for name, _ in LABEL_FILES])
def test_labels_are_read_or_refused(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    write_json(path, content)
    with patience():
        try:
            check_coco(load_coco(path), path)
        except DataError as error:
            assert str(path) in str(error) and "\n" not in str(error)
