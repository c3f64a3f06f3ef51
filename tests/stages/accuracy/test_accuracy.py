"""Accuracy on hand-built cases: a stub backend whose detections are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stages import backends
from stages.accuracy.accuracy import Accuracy
from stages.accuracy.pycocotools_check import score
from stages.artifacts import AccuracyResult, Engine, LabeledSet, Precision, hash_files
from stages.backends.base import Available
from stages.detection.results import class_to_category
from stages.detection.sidecar import Sidecar
from stages.errors import ConfigError, DataError, StageError
from stages.options.accuracy import AccuracyOptions, NmsOptions
from stages.options.backend import BackendOptions
from tests.fakes import FakeContext

SIZE = (40, 60)  # network input
SHAPE = (80, 90)  # images

CATEGORIES = [{"id": 3, "name": "ant"}, {"id": 17, "name": "bee"}]
BOXES: dict[int, list[tuple[int, list[float]]]] = {  # image id -> (category, bbox)
    1: [(3, [10, 20, 30, 40]), (17, [50, 5, 35, 60])],
    2: [],
    5: [(17, [0, 0, 20, 25])],
    9: [(3, [40, 40, 12, 9])],
    11: [(3, [1, 2, 50, 30])],
}


def labeled(folder: Path, **annotation: Any) -> LabeledSet:
    """The validation set of ``BOXES``; each image is of one grey value: its id."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for image, boxes in BOXES.items():
        name = f"{image}.png"
        cv2.imwrite(str(folder / "images" / name), np.full((*SHAPE, 3), image * 20, np.uint8))
        images.append({"id": image, "file_name": name, "height": SHAPE[0], "width": SHAPE[1]})
        for category, bbox in boxes:
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": category, "bbox": bbox,
                 "area": bbox[2] * bbox[3], "iscrowd": 0, **annotation}
            )  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (folder / "annotations.json").write_text(json.dumps(content))
    return LabeledSet(
        root=folder,
        files=hash_files(folder, ["annotations.json"]),
        images_root=str(folder / "images"),
        images=len(images),
        boxes=len(annotations),
        images_digest="",
        labels=["ant", "bee"],
    )


def engine(folder: Path, labels: tuple[str, ...] = ("ant", "bee"), **changes: Any) -> Engine:
    folder.mkdir(parents=True)
    (folder / "main").touch()
    # No mean and no scaling: the stub reads the image's id off the tensor.
    Sidecar(SIZE, "nearest", (0.0,) * 3, (1.0,) * 3, scale=False, labels=labels).write(folder)
    fields: dict[str, Any] = {
        "backend": "stub", "precision": Precision.INT8, "main": "main", "input_size": list(SIZE), "batch": 1,
        "scale_factor": True, "image_input": "image", "scale_input": "scale_factor", "boxes_output": "b",
        "scores_output": "s",
    }  # fmt: skip
    return Engine(root=folder, files=hash_files(folder), **{**fields, **changes})


Answer = Callable[[int], tuple[np.ndarray, np.ndarray]]


def perfect(image: int) -> tuple[np.ndarray, np.ndarray]:
    """The labelled boxes with a score of 0.9, in pixels of the original image."""
    boxes, scores = np.zeros((4, 4), np.float32), np.zeros((2, 4), np.float32)
    for i, (category, (x, y, w, h)) in enumerate(BOXES[image]):
        boxes[i] = x, y, x + w, y + h
        scores[[3, 17].index(category), i] = 0.9
    return boxes, scores


def nothing(image: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((4, 4), np.float32), np.zeros((2, 4), np.float32)


class Stub:
    """A backend that answers by the grey value of the image."""

    def __init__(self, answer: Answer, *, network_pixels: bool = False) -> None:
        self.answer, self.network_pixels = answer, network_pixels
        self.batches: list[int] = []

    def availability(self, options: BackendOptions | None = None) -> Available:
        return Available("stub")

    def prepare(self) -> None: ...

    @contextmanager
    def open(self, engine: Engine) -> Iterator[Stub]:
        yield self

    def infer(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        assert ("scale_factor" in feeds) is not self.network_pixels
        self.batches.append(len(feeds["image"]))
        answers = [self.answer(round(float(image.mean()) / 20)) for image in feeds["image"]]
        boxes, scores = (np.stack(parts) for parts in zip(*answers, strict=True))
        if self.network_pixels:
            boxes = boxes * np.float32([SIZE[1] / SHAPE[1], SIZE[0] / SHAPE[0]] * 2)
        return [boxes, scores]


def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stub: Stub,
    options: AccuracyOptions | None = None,
    validation: LabeledSet | None = None,
    **changes: Any,
) -> tuple[dict[str, Any], AccuracyResult, FakeContext]:
    monkeypatch.setattr(backends, "get", lambda name: {"stub": stub}[name])
    context = FakeContext(tmp_path / "stage")
    inputs = Accuracy.Inputs(
        engine=engine(tmp_path / "engine", **changes), validation=validation or labeled(tmp_path / "val")
    )
    result = Accuracy(options or AccuracyOptions()).run(inputs, context)
    return json.loads(result.path("accuracy.json").read_text()), result, context


def test_perfect_detections_give_100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, result, context = run(tmp_path, monkeypatch, Stub(perfect))
    assert content["map"] == content["map50"] == content["map75"] == pytest.approx(100)
    assert [c["AP"] for c in content["per_class"]] == [pytest.approx(1)] * 2
    assert [(c["name"], c["boxes"]) for c in content["per_class"]] == [("ant", 3), ("bee", 2)]
    assert (content["images"], content["images_without_boxes"], content["boxes"]) == (5, 1, 5)
    assert content["AP_large"] is None  # no box above 96 x 96 pixels
    assert content["AP_small"] == pytest.approx(1)
    assert context.value("map.stub.int8") == pytest.approx(100)
    assert context.progress_calls[-1][:2] == (5, 5)
    assert (result.backend, result.precision) == ("stub", Precision.INT8)
    found = json.loads(result.path("detections.json").read_text())
    assert len(found) == 5
    assert found[0] == {"image_id": 1, "category_id": 3, "bbox": [10, 20, 30, 40], "score": 0.9}


def test_batches_are_filled_up_and_network_pixels_are_scaled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = Stub(perfect, network_pixels=True)
    content, _, _ = run(tmp_path, monkeypatch, stub, batch=2, scale_factor=False)
    assert stub.batches == [2, 2, 2]
    assert content["map"] == pytest.approx(100)
    assert content["detections"] == 5


def test_no_detection_at_all_is_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, _, _ = run(tmp_path, monkeypatch, Stub(nothing))
    assert content["map"] == content["map50"] == content["AR_100"] == 0
    assert content["detections"] == 0


def test_false_alarms_on_images_without_boxes_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def alarmed(image: int) -> tuple[np.ndarray, np.ndarray]:
        boxes, scores = perfect(image)
        if not BOXES[image]:
            boxes[0], scores[0, 0] = (5, 5, 30, 30), 0.95  # an ant above all true ones
        return boxes, scores

    content, _, _ = run(tmp_path, monkeypatch, Stub(alarmed))
    ant, bee = content["per_class"]
    assert ant["AP"] == pytest.approx(3 / 4)  # precision 1/2, 2/3, 3/4: its envelope is 3/4 everywhere
    assert bee["AP"] == pytest.approx(1)


def test_a_crowd_is_neither_a_hit_nor_a_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, _, _ = run(tmp_path, monkeypatch, Stub(perfect), validation=labeled(tmp_path / "v", iscrowd=1))
    assert content["map"] is None
    assert content["boxes"] == 0


def test_only_the_first_images_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, _, context = run(tmp_path, monkeypatch, Stub(perfect), AccuracyOptions(max_images=2))
    assert content["images"] == 2
    assert "first 2 images" in context.warnings[0]


def test_the_nms_settings_take_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = AccuracyOptions(nms=NmsOptions(score_threshold=0.95))
    content, _, _ = run(tmp_path, monkeypatch, Stub(perfect), options)
    assert content["detections"] == 0
    assert content["nms"]["score_threshold"] == 0.95


@pytest.mark.parametrize("where", [0, 1])
def test_nan_is_an_error_not_a_low_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: int) -> None:
    def broken(image: int) -> tuple[np.ndarray, np.ndarray]:
        outputs = perfect(image)
        outputs[where][0, 0] = np.nan
        return outputs

    with pytest.raises(StageError, match=r"stub int8 engine gives NaN or infinite values on 1\.png"):
        run(tmp_path, monkeypatch, Stub(broken))


def test_wrong_class_counts_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StageError, match=r"scores 2 classes, its infer_cfg\.yml names 3"):
        run(tmp_path / "a", monkeypatch, Stub(perfect), labels=("ant", "bee", "cat"))
    with pytest.raises(DataError, match="3 classes"):
        run(tmp_path / "b", monkeypatch, Stub(perfect), labels=("x", "y", "z"))
    with pytest.raises(ConfigError, match="max_images"):
        run(tmp_path / "c", monkeypatch, Stub(perfect), AccuracyOptions(max_images=0))


def test_classes_match_by_name_or_by_order(context: FakeContext) -> None:
    coco = {"categories": CATEGORIES, "annotations": []}
    assert class_to_category(["bee", "cat", "ant"], coco, context) == [17, None, 3]
    assert context.warnings == []
    assert class_to_category(["x", "y"], coco, context) == [3, 17]
    assert "matched by their order" in context.warnings[0]


def test_classes_the_data_set_lacks_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def three(image: int) -> tuple[np.ndarray, np.ndarray]:
        boxes, scores = perfect(image)
        cat = np.full((1, 4), 0.99, np.float32)
        return boxes, np.concatenate([scores[:1], cat, scores[1:]])

    content, _, _ = run(tmp_path, monkeypatch, Stub(three), labels=("ant", "cat", "bee"))
    assert content["map"] == pytest.approx(100)
    assert content["detections"] == 5


def test_scores_are_those_of_pycocotools_own_route(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    validation = labeled(tmp_path / "v")
    path = validation.path("annotations.json")
    rng = np.random.default_rng(0)
    detections = [
        {
            "image_id": image,
            "category_id": int(rng.choice([3, 17])),
            "bbox": (np.array(bbox) + rng.normal(0, 3, 4)).tolist(),
            "score": float(rng.random()),
        }
        for image, boxes in BOXES.items()
        for _, bbox in boxes * 4
    ]
    got = score(json.loads(path.read_text()), detections)
    assert capsys.readouterr().out == ""
    truth = COCO(str(path))
    evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    expected = [None if v == -1 else v for v in evaluation.stats]
    assert [got[k] for k in got if k != "per_class"] == expected
    assert 0 < got["AP"] < 1
