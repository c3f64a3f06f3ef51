"""A very small detector for the tests of export and compression, made once per test run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stages.artifacts import Checkpoint, ImageList, InferenceModel, hash_files, sha256_of
from stages.distillation.distill import DistillInputs
from stages.export.export import ExportInputs
from stages.options.export import ExportOptions
from stages.options.model import ModelOptions
from tests.stages.paddle.models.test_models import compose, merge
from tests.stages.workers import ROOT, Worker

SIZE = 96
LABELS = ["circle", "square", "star"]


def model(**changes: Any) -> ModelOptions:
    own = {"input_size": [SIZE, SIZE], "labels": LABELS, "architecture": {"width_mult": 0.125}}
    return ModelOptions(**{**merge(compose("ppyoloe_tiny"), own), **changes})


def make_forms(folder: Path) -> Path:
    """See ``probe_forms``."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.stages.paddle.probe_forms", str(folder)],
        input=json.dumps(model().__dict__),
        capture_output=True,
        text=True,
        timeout=900,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def checkpoint(forms: Path) -> Checkpoint:
    return Checkpoint(root=forms / "checkpoint", files=hash_files(forms / "checkpoint"))


def inference(folder: Path) -> InferenceModel:
    return InferenceModel(root=folder, files=hash_files(folder))


def images(folder: Path, count: int = 6) -> ImageList:
    """Pictures of coloured rectangles in several sizes."""
    (folder / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(1)
    entries = []
    for i in range(count):
        width, height = int(rng.integers(80, 160)), int(rng.integers(80, 160))
        picture = rng.integers(0, 60, (height, width, 3)).astype(np.uint8)
        for _ in range(4):
            x, y = int(rng.integers(0, width - 20)), int(rng.integers(0, height - 20))
            picture[y : y + 20, x : x + 30] = rng.integers(0, 255, 3)
        path = folder / "pictures" / f"{i}.png"
        cv2.imwrite(str(path), picture)
        entries.append({"path": str(path), "sha256": sha256_of(path), "width": width, "height": height})
    root = folder / "list"
    root.mkdir()
    (root / "images.json").write_text(json.dumps(entries))
    return ImageList(root=root, files=hash_files(root), count=count)


def to_distill(folder: Path) -> DistillInputs:
    """The detector, exported as the product does it, and images to distil it on."""
    pictures = images(folder / "images")
    inputs = ExportInputs(model=checkpoint(make_forms(folder)), images=pictures)
    exported = Worker(folder / "export", "export", ExportOptions(model=model()), inputs).done()
    return DistillInputs(model=exported, images=pictures)
