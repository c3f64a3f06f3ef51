"""Every kind of model that may be brought becomes an engine that finds what Paddle finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.agreement.likeness import likeness
from stages.artifacts import ExportedModel
from stages.backends.detector import open_detector
from stages.build.build import Build, BuildInputs
from stages.codec import artifact_from_json, to_json
from stages.detection.images import read_image
from stages.detection.matching import Detections
from stages.detection.nms import multiclass_nms
from stages.detection.unlabeled import listed_paths
from stages.options.accuracy import NmsOptions
from stages.options.backend import BuildOptions
from stages.options.model import ModelOptions
from tests.fakes import FakeContext
from tests.stages.detectors import LABELS, images
from tests.stages.paddle.models.test_models import compose, merge
from tests.stages.workers import probed

BATCH, COUNT = 2, 3
FAMILIES = {"ppyoloe": "ppyoloe_tiny", "ppyoloe_plus": "ppyoloe_plus_t"}
COMBINATIONS = [  # family, size, form, batch; each takes a few seconds of Paddle's, so not all of the 24
    ("ppyoloe", 320, "with_nms", 1),
    ("ppyoloe", 320, "without_nms", BATCH),
    ("ppyoloe", 320, "raw", 1),
    ("ppyoloe_plus", 640, "with_nms", BATCH),
    ("ppyoloe_plus", 640, "without_nms", 1),
    ("ppyoloe_plus", 640, "raw", BATCH),
]
MODELS = list(dict.fromkeys((family, size) for family, size, _, _ in COMBINATIONS))
NMS = NmsOptions(score_threshold=0.0, nms_top_k=100, keep_top_k=30)


def tiny(family: str, size: int) -> dict[str, Any]:
    small = {"width_mult": 0.125, "depth_mult": 0.33}
    own = {"input_size": [size, size], "labels": LABELS, "architecture": small}
    return ModelOptions(**merge(compose(FAMILIES[family]), own)).__dict__


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """All combinations in one process: loading Paddle is what costs."""
    folder = tmp_path_factory.mktemp("inputs")
    given = {
        "models": {f"{family}-{size}": tiny(family, size) for family, size in MODELS},
        "images": to_json(images(folder / "images", count=COUNT)),
        "combinations": [(f"{family}-{size}", form, batch) for family, size, form, batch in COMBINATIONS],
    }
    return folder, probed("tests.stages.paddle.probe_inputs", str(folder), given=given, timeout=1200)


def gathered(found: list[Any]) -> Detections:
    """Detections [M, 6] of each image as arrays, boxes as (x, y, width, height)."""
    rows = np.concatenate(found).astype(np.float64)
    image = np.repeat(np.arange(len(found)), [len(f) for f in found]).astype(np.int32)
    box = np.concatenate([rows[:, 2:4], rows[:, 4:6] - rows[:, 2:4]], axis=1)
    return Detections(image, rows[:, 0].astype(np.int32), rows[:, 1], box)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "size", "form", "batch"), COMBINATIONS)
def test_a_model_that_is_brought_finds_what_paddle_finds(
    family: str, size: int, form: str, batch: int, probe: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, made = probe
    name = f"{family}-{size}"
    model = artifact_from_json(made[f"{name} {form} {batch}"])
    assert isinstance(model, ExportedModel)
    assert (model.batch, model.input_size, model.scale_factor) == (batch, [size, size], form != "raw")
    with np.load(folder / name / "reference.npz") as reference:
        expected = gathered(
            [multiclass_nms(b, s, NMS) for b, s in zip(reference["boxes"], reference["scores"], strict=True)]
        )
    engine = Build(BuildOptions(backend="onnxruntime")).run(BuildInputs(model=model), FakeContext(tmp_path))
    pictures = [read_image(path) for path in listed_paths(images(tmp_path / "images", count=COUNT))]
    parts, farthest = [], {"boxes": 0.0, "scores": 0.0}
    with np.load(folder / name / "reference.npz") as reference, open_detector(engine, NMS) as detector:
        for start in range(0, COUNT, batch):
            parts += [seen.detections(NMS) for seen in detector.runner.run(pictures[start : start + batch])]
            feeds, scales = detector.runner.feeds(pictures[start : start + batch])
            boxes, scores = detector.session.infer(feeds)
            if form == "raw":
                boxes = boxes / scales[:, None, [1, 0, 1, 0]]
            shown = slice(start, min(start + batch, COUNT))
            for key, ours in (("boxes", boxes), ("scores", scores)):
                difference = np.abs(ours[: shown.stop - start] - reference[key][shown]).max()
                farthest[key] = max(farthest[key], float(difference))
    assert farthest["boxes"] < 0.05 and farthest["scores"] < 1e-4  # pixels of the image, probability; every anchor
    found = gathered(parts)
    assert expected.score.size == found.score.size == COUNT * NMS.keep_top_k
    like = likeness(expected, found, score=0.0)  # boxes of the same score may change places in NMS
    assert like.share > 0.97 and like.iou is not None and like.iou > 0.97
