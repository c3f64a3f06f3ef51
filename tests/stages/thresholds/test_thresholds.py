"""The stage, on a stand-in for a backend whose INT8 engine gives the scores of FP32 times 0.8."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from stages import backends
from stages.artifacts import AccuracyResult, Engine, ImageList, LabeledSet, hash_files, sha256_of
from stages.backends.base import Available
from stages.detection.matching import Matches
from stages.detection.sidecar import Sidecar
from stages.errors import ConfigError, DataError, StageError
from stages.options.thresholds import ThresholdOptions, scores_by_class
from stages.thresholds.images import FP32_BOXES, LABELS
from stages.thresholds.thresholds import ThresholdInputs, ThresholdsStage
from tests.fakes import FakeContext
from tests.stages.thresholds.scenes import both

SIDE, IMAGES, PLACES = 64, 12, 6
SCORES = np.random.default_rng(0).uniform(0.2, 0.95, (IMAGES + 1, 2, 2 * PLACES)).round(3)
"""Of each image (by its grey value), class and place; the second half of the places has no labelled box."""
SCORES[..., PLACES:] -= 0.15


def corners() -> np.ndarray:
    """[2 classes * places, 4] of every image, far from each other."""
    place, kind = (grid.ravel() for grid in np.mgrid[: 2 * PLACES, :2].transpose(0, 2, 1))
    return np.stack([place * 5, kind * 30, place * 5 + 4, kind * 30 + 20], axis=1).astype(np.float32)


class Stub:
    """A backend that knows an image by its grey value; engines that are not FP32 give smaller scores."""

    def availability(self, options: object = None) -> Available:
        return Available("stub")

    def prepare(self) -> None: ...

    @contextmanager
    def open(self, engine: Engine) -> Iterator[Any]:
        factor = 1.0 if engine.precision == "fp32" else 0.8

        def infer(feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            (image,) = (round(float(one.mean()) / 20) for one in feeds["image"])
            boxes, scores = corners(), np.zeros((1, 2, 4 * PLACES), np.float32)
            for kind in range(2):
                scores[0, kind, kind * 2 * PLACES : (kind + 1) * 2 * PLACES] = factor * SCORES[image, kind]
            return [boxes[None], scores]

        yield SimpleNamespace(infer=infer)


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "get", lambda name: {"stub": Stub()}[name])


def engine(folder: Path, precision: str) -> Engine:
    folder.mkdir(parents=True)
    (folder / "main").touch()
    names = ("ant", "bee")
    Sidecar((SIDE, SIDE), "nearest", (0.0,) * 3, (1.0,) * 3, scale=False, labels=names).write(folder)
    return Engine(
        root=folder, files=hash_files(folder), backend="stub", precision=precision, main="main",
        input_size=[SIDE, SIDE], batch=1, scale_factor=True, image_input="image", scale_input="scale_factor",
        boxes_output="b", scores_output="s",
    )  # fmt: skip


def pictures(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.png" for number in range(1, IMAGES + 1)]
    for number, path in enumerate(paths, start=1):
        cv2.imwrite(str(path), np.full((SIDE, SIDE, 3), number * 20, np.uint8))
    return paths


def labeled(folder: Path) -> LabeledSet:
    """The first half of the places, with the classes in another order than the model's."""
    paths = pictures(folder / "images")
    coco: dict[str, Any] = {
        "images": [{"id": 10 * n, "file_name": p.name, "height": SIDE, "width": SIDE} for n, p in enumerate(paths, 1)],
        "annotations": [],
        "categories": [{"id": 3, "name": "bee"}, {"id": 7, "name": "ant"}],
    }
    for image in coco["images"]:
        for number, (x1, y1, x2, y2) in enumerate(corners().tolist()):
            kind, place = divmod(number, 2 * PLACES)
            if place < PLACES:
                coco["annotations"].append(
                    {"id": len(coco["annotations"]), "image_id": image["id"], "category_id": (7, 3)[kind],
                     "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
                )  # fmt: skip
    (folder / "annotations.json").write_text(json.dumps(coco))
    return LabeledSet(
        root=folder, files=hash_files(folder, ["annotations.json"]), images_root=str(folder / "images"), images=IMAGES,
        boxes=len(coco["annotations"]), images_digest="", labels=["bee", "ant"],
    )  # fmt: skip


def unlabeled(folder: Path) -> ImageList:
    paths = pictures(folder)
    entries = [{"path": str(p), "sha256": sha256_of(p), "width": SIDE, "height": SIDE} for p in paths]
    (folder / "images.json").write_text(json.dumps(entries))
    return ImageList(root=folder, files=hash_files(folder, ["images.json"]), count=IMAGES)


def run(folder: Path, inputs: dict[str, Any], **options: Any) -> tuple[dict[str, Any], FakeContext]:
    engines = [engine(folder / "int8", "int8"), engine(folder / "fp32", "fp32")]
    context = FakeContext(folder / "stage")
    stage = ThresholdsStage(ThresholdOptions(**{"draws": 200, **options}))
    made = stage.run(ThresholdInputs(**{"engines": engines, **inputs}), context)
    assert made.backend == "stub"
    return json.loads(made.path("thresholds.json").read_text()), context


def test_labels_give_back_the_recall_that_shrunk_scores_lose(tmp_path: Path) -> None:
    content, context = run(tmp_path, {"labeled": labeled(tmp_path / "train")}, score=0.5, classes=["bee:0.6"])
    assert (content["by"], content["base"], content["images"], content["draws"]) == (LABELS, "fp32", IMAGES, 200)
    (found,) = content["engines"]
    assert found["precision"] == "int8"
    ant, bee = found["classes"]
    assert [(one["name"], one["boxes"], one["base"]) for one in (ant, bee)] == [("ant", 72, 0.5), ("bee", 72, 0.6)]
    assert ant["moved"] and ant["threshold"] == pytest.approx(0.4, abs=1e-5)
    assert bee["moved"] and bee["threshold"] == pytest.approx(0.48, abs=1e-5)
    at = found["at"]
    assert at["moved"] == at["base"] and at["unmoved"]["recall"] < at["base"]["recall"] - 0.05
    assert context.value("thresholds.stub.int8.moved") == 2
    assert context.value("thresholds.stub.int8.recall.moved") == at["base"]["recall"]
    assert context.progress_calls[-1][:2] == (2 * IMAGES, 2 * IMAGES)
    assert context.warnings == []


def test_without_labels_fp32s_boxes_take_their_place_and_it_says_so(tmp_path: Path) -> None:
    content, context = run(tmp_path, {"images": unlabeled(tmp_path / "images")}, score=0.5)
    assert content["by"] == FP32_BOXES
    (found,) = content["engines"]
    assert [one["threshold"] for one in found["classes"]] == pytest.approx([0.4, 0.4], abs=1e-5)
    assert found["at"]["base"] == found["at"]["moved"] == {"precision": 1.0, "recall": 1.0}
    assert found["at"]["unmoved"]["precision"] == 1.0 and found["at"]["unmoved"]["recall"] < 0.9
    assert found["classes"][0]["best_f1"]["base"] is None
    assert "data.train_annotations" in context.warnings[0] and "that does not say" in context.warnings[0]


def scored(folder: Path, matches: Matches, precision: str) -> AccuracyResult:
    folder.mkdir(parents=True)
    matches.save(folder / "matches.npz")
    return AccuracyResult(root=folder, files=hash_files(folder), backend="stub", precision=precision)


def test_the_validation_set_shows_what_came_of_it_and_decides_nothing(tmp_path: Path) -> None:
    coco = {"images": [], "annotations": [], "categories": [{"id": 0, "name": "ant"}, {"id": 1, "name": "bee"}]}
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "annotations.json").write_text(json.dumps(coco))
    validation = LabeledSet(
        root=tmp_path / "val", files=hash_files(tmp_path / "val"), images_root="", images=60, boxes=0, images_digest=""
    )
    base, other = both(1, lambda score: 0.8 * score, classes=2)
    results = [scored(tmp_path / "s8", other, "int8"), scored(tmp_path / "s32", base, "fp32")]
    without, _ = run(tmp_path / "a", {"labeled": labeled(tmp_path / "train")})
    shown, _ = run(
        tmp_path / "b", {"labeled": labeled(tmp_path / "again"), "scored": results, "validation": validation}
    )
    (alone,), (found,) = without["engines"], shown["engines"]
    assert [one["threshold"] for one in found["classes"]] == [one["threshold"] for one in alone["classes"]]
    at = found["validation"]
    assert at["moved"]["recall"] == pytest.approx(at["base"]["recall"], abs=0.005)
    assert at["unmoved"]["recall"] < at["base"]["recall"] - 0.02
    assert alone["validation"] is None


def test_only_some_of_the_images_are_read(tmp_path: Path) -> None:
    content, context = run(tmp_path, {"labeled": labeled(tmp_path / "train")}, images=3)
    assert content["images"] == 3
    (found,) = content["engines"]
    assert [one["boxes"] for one in found["classes"]] == [18, 18]
    assert not any(one["moved"] for one in found["classes"])
    assert "the threshold of ant stays: only 18 boxes; about 30 are needed" in context.warnings[0]


def test_a_class_that_the_model_does_not_have_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the model has no class wasp; it has ant, bee"):
        run(tmp_path, {"labeled": labeled(tmp_path / "train")}, classes=["wasp:0.5"])


def test_a_threshold_that_is_no_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"thresholds\.score"):
        run(tmp_path / "a", {}, score=1.5)
    for number, wrong in enumerate((["ant"], ["ant:x"], ["ant:7"], [":0.5"], ["ant:0.1", "ant:0.2"], ["ant:nan"])):
        with pytest.raises(ConfigError, match=r"thresholds\.classes: .* must be a list of NAME:SCORE"):
            run(tmp_path / str(number), {}, classes=wrong)


def test_a_class_may_be_called_anything() -> None:
    assert scores_by_class(["red car: 0.3", "a:b:0.4", "v2.0:1"]) == {"red car": 0.3, "a:b": 0.4, "v2.0": 1.0}


def test_without_fp32_there_is_nothing_to_move(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no FP32 engine"):
        run(tmp_path, {"labeled": labeled(tmp_path / "train"), "engines": [engine(tmp_path / "e", "int8")]})
