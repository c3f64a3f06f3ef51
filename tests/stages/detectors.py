"""A very small detector for the tests of export and compression; ``conftest.py`` makes it once per session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stages.artifacts import Checkpoint, ImageList, InferenceModel, hash_files, sha256_of
from stages.options.model import ModelOptions
from tests.stages import forks
from tests.stages.paddle.models.test_models import compose, merge

SIZE = 96
LABELS = ["circle", "square", "star"]


def model(**changes: Any) -> ModelOptions:
    own = {"input_size": [SIZE, SIZE], "labels": LABELS, "architecture": {"width_mult": 0.125}}
    return ModelOptions(**{**merge(compose("ppyoloe_tiny"), own), **changes})


def make_forms(folder: Path) -> Path:
    """See ``probe_forms``."""
    forks.run("tests.stages.paddle.probe_forms", str(folder), given=json.dumps(model().__dict__))
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
