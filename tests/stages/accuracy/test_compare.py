"""INT8 against FP32: differences, intervals, calibration and the images that lose most."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stages.accuracy import per_image, pictures
from stages.accuracy.compare import Compare, CompareInputs
from stages.artifacts import AccuracyResult, LabeledSet, Precision, hash_files
from stages.detection.average_precision import summarize
from stages.detection.matching import Detections, Matches, Truth, match
from stages.detection.results import as_coco
from stages.errors import StageError
from stages.options.accuracy import CompareOptions
from stages.outside.names import OUTSIDE
from tests.fakes import FakeContext
from tests.stages.detection.coco_sets import random_set


def labeled(folder: Path, coco: dict[str, Any]) -> LabeledSet:
    (folder / "images").mkdir(parents=True)
    for image in coco["images"]:
        image["file_name"] = f"{image['id']}.png"
        cv2.imwrite(str(folder / "images" / image["file_name"]), np.full((300, 400, 3), 90, np.uint8))
    (folder / "annotations.json").write_text(json.dumps(coco))
    return LabeledSet(
        root=folder, files=hash_files(folder, ["annotations.json"]), images_root=str(folder / "images"),
        images=len(coco["images"]), boxes=len(coco["annotations"]), images_digest="",
    )  # fmt: skip


def result(folder: Path, coco: dict[str, Any], found: Detections, precision: Precision) -> AccuracyResult:
    folder.mkdir(parents=True)
    truth = Truth.from_coco(coco)
    (folder / "detections.json").write_text(json.dumps(as_coco(found, truth)))
    match(truth, found).save(folder / "matches.npz")
    return AccuracyResult(root=folder, files=hash_files(folder), backend="stub", precision=precision)


def worsened(found: Detections, image: int, lower: float = 0.0) -> Detections:
    """Nothing is found on ``image`` any more, and every score is lower."""
    kept = found.image != image
    return Detections(found.image[kept], found.category[kept], found.score[kept] - lower, found.box[kept])


def compared(
    tmp_path: Path,
    other: Any,
    options: CompareOptions | None = None,
    seed: int = 2,
    change: Callable[[dict[str, Any]], None] = lambda coco: None,
) -> tuple[dict[str, Any], FakeContext, tuple[Matches, Matches]]:
    coco, results = random_set(seed)
    change(coco)
    validation = labeled(tmp_path / "val", coco)
    truth = Truth.from_coco(coco)
    found = Detections.from_coco(results, truth)
    context = FakeContext(tmp_path / "stage")
    inputs = CompareInputs(
        base=result(tmp_path / "base", coco, found, Precision.FP32),
        other=result(tmp_path / "other", coco, other(found), Precision.INT8),
        validation=validation,
    )
    made = Compare(options or CompareOptions(draws=200, worst=3)).run(inputs, context)
    content = json.loads(made.path("compare.json").read_text())
    assert (made.backend, made.base, made.other) == ("stub", Precision.FP32, Precision.INT8)
    both = tuple(Matches.load(r.path("matches.npz")) for r in (inputs.base, inputs.other))
    return content, context, both  # type: ignore[return-value]


def test_the_same_detections_do_not_differ(tmp_path: Path) -> None:
    content, context, _ = compared(tmp_path, lambda found: found)
    assert content["difference"]["map"] == {"value": 0, "low": 0, "high": 0}
    assert content["worst"] == [] and content["image_loss"] == {"mean": 0, "worse": 0, "better": 0}
    assert content["calibration"]["shift"]["mean"] == 0
    assert context.value("map_difference.stub.int8.low") == 0


def test_differences_are_those_of_the_scores_and_the_images_that_lose_most_come_first(tmp_path: Path) -> None:
    content, context, (base, other) = compared(tmp_path, lambda found: worsened(found, 4, lower=0.05))
    expected = [100 * (summarize(other)[k] - summarize(base)[k]) for k in ("AP", "AP50", "AP_large")]
    names = ("map", "map50", "map_large")
    assert [content["difference"][k]["value"] for k in names] == pytest.approx(expected)
    for told in content["difference"].values():
        assert told["low"] <= told["value"] + 0.5 and told["value"] - 0.5 <= told["high"]
    assert context.value("map_difference.stub.int8") == pytest.approx(expected[0])
    assert content["calibration"]["shift"]["mean"] == pytest.approx(-0.05)
    losses = [w["loss"] for w in content["worst"]]
    assert losses == sorted(losses, reverse=True) and losses[0] > 0
    picture = cv2.imread(str(tmp_path / "stage" / "out" / content["worst"][0]["picture"]))
    assert picture.shape[1] == 2 * 480 + 8
    unknown = content["per_class"][-1]  # the class without boxes
    assert (unknown["boxes"], unknown["value"]) == (0, None)
    with np.load(tmp_path / "stage" / "out" / "draws.npz") as draws:
        assert draws["map"].shape == (200,)
        assert np.quantile(draws["map"], 0.025) == pytest.approx(content["difference"]["map"]["low"])


def test_typical_images_are_those_in_the_middle(tmp_path: Path) -> None:
    content, _, both = compared(tmp_path, lambda f: worsened(f, 4), CompareOptions(draws=0, worst=2, typical=3))
    f1 = [per_image.image_f1(m, content["threshold"]) for m in both]
    loss = f1[0] - f1[1]
    typical = [image["loss"] for image in content["typical"]]
    worst = {image["image_id"] for image in content["worst"]}
    assert len(typical) == 3 and not worst & {image["image_id"] for image in content["typical"]}
    away = sorted(abs(loss - np.median(loss)))
    assert max(abs(np.array(typical) - np.median(loss))) <= away[2 + len(worst)]
    assert (tmp_path / "stage" / "out" / "typical-3.jpg").is_file()
    assert {image["picture"] for image in content["typical"]} == {f"typical-{place}.jpg" for place in (1, 2, 3)}


def _near(panel: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Pixels near a colour (blue, green, red); a JPEG blurs it."""
    return int((np.abs(panel.astype(int) - colour).sum(axis=2) < 90).sum())


def test_boxes_that_were_lost_or_gained_are_marked_in_the_second_panel_alone(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((200, 240, 3), 255, np.uint8))
    boxes = [[20.0, 40.0, 60.0, 60.0], [140.0, 90.0, 60.0, 60.0]]
    labels = [{"id": i, "category_id": 1, "bbox": box, "area": 3600.0} for i, box in enumerate(boxes, 1)]
    found = [{"category_id": 1, "bbox": box, "score": 0.9} for box in boxes]
    pictures.side_by_side(
        tmp_path / "a.png", labels, [found[:1], found[1:]], ["FP32", "INT8"], {1: "ant"}, tmp_path / "out.jpg"
    )
    picture = cv2.imread(str(tmp_path / "out.jpg"))
    left, right = picture[26:, :480], picture[26:, 488:]
    for colour in (pictures._LOST, pictures._GAINED):
        assert _near(left, colour) == 0 and _near(right, colour) > 150
    assert _near(left, pictures._HIT) > 150 and _near(right, pictures._HIT) == 0  # not those of the first engine
    judged = [pictures.judge(labels, detections) for detections in (found[:1], found[1:])]
    assert [(j.boxes, sorted(j.missed)) for j in judged] == [([0], [1]), ([1], [0])]


def test_without_draws_there_is_no_interval(tmp_path: Path) -> None:
    content, context, _ = compared(tmp_path, lambda f: worsened(f, 4), CompareOptions(draws=0, worst=0))
    told = content["difference"]["map"]
    assert told["value"] != 0 and told["low"] is None and told["high"] is None
    assert content["worst"] == []
    assert [name for name, _, _ in context.metrics] == ["map_difference.stub.int8"]


def test_other_images_are_refused(tmp_path: Path) -> None:
    results = []
    for seed in (1, 2):
        coco, found = random_set(seed)
        truth = Truth.from_coco(coco)
        results.append(result(tmp_path / str(seed), coco, Detections.from_coco(found, truth), Precision.FP32))
    inputs = CompareInputs(base=results[0], other=results[1], validation=labeled(tmp_path / "val", coco))
    with pytest.raises(StageError, match="different images"):
        Compare(CompareOptions()).run(inputs, FakeContext(tmp_path / "stage"))


def test_f1_threshold_and_calibration_on_a_set_by_hand() -> None:
    coco = {
        "images": [{"id": 1}, {"id": 2}, {"id": 3}],
        "categories": [{"id": 1}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 50, 50], "area": 2500} for i in (1, 2)
        ],
    }
    truth = Truth.from_coco(coco)
    boxes = np.array([[0, 0, 50, 50], [0, 0, 50, 40], [200, 0, 50, 50.0]])  # exact, IoU 0.8, nowhere
    found = Detections(np.array([0, 1, 1], np.int32), np.zeros(3, np.int32), np.array([0.9, 0.85, 0.15]), boxes)
    matches = match(truth, found)
    assert per_image.best_threshold(matches) == 0.85
    # Image 2: a hit at IoU 0.5 to 0.8, that is 7 of 10; image 3 is empty and rightly so.
    assert per_image.image_f1(matches, 0.85).tolist() == pytest.approx([1, 0.7, 1])
    assert per_image.image_f1(matches, 0.0).tolist() == pytest.approx([1, 0.7 * 2 / 3, 1])
    told = per_image.calibration(matches)
    assert [(b["count"], b["hits"]) for b in told["bins"]] == [(1, 0), (1, 1), (1, 1)]
    assert told["error"] == pytest.approx((0.15 + 0.15 + 0.1) / 3)
    shifted = match(truth, replace(found, score=found.score - 0.1))
    assert per_image.score_shift(matches, shifted)["mean"] == pytest.approx(-0.1)
    assert per_image.score_shift(matches, shifted)["boxes"] == 2


def test_an_image_outside_of_its_folder_is_compared_and_not_shown(tmp_path: Path) -> None:
    shown, _, _ = compared(tmp_path / "a", lambda found: worsened(found, 4, 0.05))
    private = shown["worst"][0]["image_id"]

    def mark(coco: dict[str, Any]) -> None:
        next(image for image in coco["images"] if image["id"] == private)[OUTSIDE] = True

    hidden, _, _ = compared(tmp_path / "b", lambda found: worsened(found, 4, 0.05), change=mark)
    assert hidden["worst"] and private not in [w["image_id"] for w in hidden["worst"]]
    assert hidden["difference"] == shown["difference"]
