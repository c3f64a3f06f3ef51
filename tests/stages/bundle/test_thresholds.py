"""Thresholds of an engine's own scores: in all that a bundle says, and what `detpress predict` does with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml

from pipelines.cli import main
from pipelines.runs.bundles import write_zip
from pipelines.runs.predictions import predictions
from stages.artifacts import Bundle, Thresholds, hash_files
from stages.build.build import Build, BuildInputs
from stages.bundle import deepstream
from stages.bundle.bundle import BundleStage
from stages.bundle.contents import open_bundle, write_sums
from stages.bundle.thresholds import has_moved, in_words, of_engine
from stages.bundle.verify import verify
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import InputError
from stages.options.accuracy import NmsOptions
from stages.options.backend import BuildOptions
from stages.options.bundle import BundleOptions
from tests.fakes import FakeContext
from tests.stages.bundle.test_bundle import labeled, stand_in
from tests.stages.engines import unlabeled

LABELS = "abcdefghijkl"
LEAST = {"a": 0.04, "b": 0.99}
"""Of two classes; the others stay at 0.5."""


def found(
    folder: Path,
    *,
    labels: str = LABELS,
    precision: str = "int8",
    by: str = "labels",
    least: Mapping[str, float] = LEAST,
) -> Thresholds:
    """What the stage `thresholds` leaves, as far as a bundle reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    at = {side: {"precision": 0.5, "recall": 0.5} for side in ("base", "unmoved", "moved")}
    classes = [
        {"name": label, "boxes": 90, "base": 0.5, "other": least.get(label, 0.49), "low": 0.03, "high": 0.45,
         "threshold": least.get(label, 0.5), "moved": label in least, "why": "" if label in least else "its interval",
         "needed": None, "best_f1": {"base": None, "other": None, "low": None, "high": None}, "at": at,
         "validation": None}
        for label in labels
    ]  # fmt: skip
    content = {
        "schema_version": 1, "backend": "onnxruntime", "base": "fp32", "by": by, "images": 40, "draws": 100,
        "confidence": 0.95,
        "engines": [{"precision": precision, "classes": classes, "at": at, "validation": None}],
    }  # fmt: skip
    (folder / "thresholds.json").write_text(json.dumps(content))
    return Thresholds(root=folder, files=hash_files(folder), backend="onnxruntime")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundled(tmp_path_factory.mktemp("bundle"), found)


def bundled(folder: Path, thresholds: Any, layout: str = "") -> Bundle:
    model = stand_in(folder / "model")
    options = BuildOptions("onnxruntime", {"threads": 1, "tune": False})
    engine = Build(options).run(BuildInputs(model), FakeContext(folder / "build"))
    inputs = BundleStage.Inputs(
        engine=engine, exported=model, labeled=labeled(unlabeled(folder / "images")),
        thresholds=thresholds(folder / "thresholds"),
    )  # fmt: skip
    stage = BundleOptions(run_id="r", model="m", golden=2, nms=NmsOptions(score_threshold=0.01), layout=layout)
    return BundleStage(stage).run(inputs, FakeContext(folder / "bundle"))


def zipped(bundle: Bundle, folder: Path) -> Path:
    write_zip(bundle, folder / "b.zip")
    return folder / "b.zip"


def test_record_sidecar_and_onnx_file_say_the_same(made: Bundle) -> None:
    record = json.loads(made.path("bundle.json").read_text())["thresholds"]
    assert [one["label"] for one in record["classes"]] == list(LABELS)
    first = {"label": "a", "base": 0.5, "threshold": 0.04, "low": 0.03, "high": 0.45}
    assert (record["by"], record["images"], record["classes"][0]) == ("labels", 40, first)
    sidecar = yaml.safe_load(made.path(f"engine/{FILE_NAME}").read_text())
    assert sidecar["detpress"]["thresholds"] == record and sidecar["draw_threshold"] == 0.5
    assert Sidecar.read(made.path(f"engine/{FILE_NAME}")).extra["thresholds"] == record
    properties = {one.key: one.value for one in onnx.load(str(made.path("engine/model.onnx"))).metadata_props}
    assert json.loads(properties["thresholds"]) == record
    assert verify(open_bundle(made.root, Path("b.zip")))["agreement"] == 1.0


def test_the_card_has_a_table_of_them(made: Bundle) -> None:
    card = made.path("README.md").read_text()
    assert "| a | 0.5 | 0.0400 | 0.0300 to 0.4500 |" in card
    assert "found on 40 labelled training images, at FP32's precision" in card


def test_moved_thresholds_are_used_class_by_class(
    made: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(made.path("golden/000.png"))
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(made.path("engine/model.onnx").read_bytes())
    for model in (zipped(made, tmp_path), alone):
        (all_of,) = predictions(model, [Path(image)], None, 0.01)
        wanted = [one for one in all_of["detections"] if one["score"] >= LEAST.get(one["label"], 0.5)]
        assert {"a"} < {one["label"] for one in wanted} and len(wanted) < len(all_of["detections"])
        capsys.readouterr()
        assert main(["predict", str(model), image, "--threshold", "moved", "--no-pictures"]) == 0
        told = capsys.readouterr()
        assert json.loads(told.out)["detections"] == wanted
        assert told.err == ""


def test_what_was_asked_for_is_used_and_a_better_threshold_told(
    made: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, image = str(zipped(made, tmp_path)), str(made.path("golden/000.png"))
    for given, least in (([], 0.5), (["--threshold", "0.3"], 0.3)):
        assert main(["predict", model, image, *given, "--no-pictures"]) == 0
        told = capsys.readouterr()
        scores = [one["score"] for one in json.loads(told.out)["detections"]]
        assert scores and min(scores) >= least
        assert "--threshold moved" in told.err and "a 0.5 to 0.040, b 0.5 to 0.990, c stays at 0.5" in told.err
        assert told.err.count("\n") == 1


def test_without_any_the_word_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = bundled(tmp_path, lambda folder: None)
    assert "thresholds" not in json.loads(bundle.path("bundle.json").read_text())
    assert "## Thresholds" not in bundle.path("README.md").read_text()
    image = str(bundle.path("golden/000.png"))
    assert main(["predict", str(zipped(bundle, tmp_path)), image, "--threshold", "moved", "--no-pictures"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "has no thresholds of its own; run detpress compress with thresholds.score=SCORE" in line
    assert main(["predict", str(tmp_path / "b.zip"), image, "--threshold", "most"]) == 2
    assert "'most' does not fit" in capsys.readouterr().err


def test_of_other_classes_or_no_scores_they_are_refused(
    made: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = json.loads(made.path("bundle.json").read_text())

    def other(change: dict[str, Any]) -> Path:
        record = {**whole, "thresholds": {**whole["thresholds"], **change}}
        made.path("bundle.json").write_text(json.dumps(record))
        write_sums(made.root)
        target = zipped(Bundle(root=made.root, files=hash_files(made.root), backend="o", precision="int8"), tmp_path)
        made.path("bundle.json").write_text(json.dumps(whole, indent=1) + "\n")
        write_sums(made.root)
        return target

    classes = whole["thresholds"]["classes"]
    for change, words in (
        ({"classes": classes[:-1]}, "of other classes than the model's"),
        ({"classes": [{**one, "threshold": 7} for one in classes]}, "7 is no score"),
        ({"classes": [{**one, "threshold": "x"} for one in classes]}, "a number"),
    ):
        given = ["predict", str(other(change)), str(made.path("golden/000.png")), "--no-pictures"]
        assert main(given) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert words in line


def test_an_engine_that_is_only_opened_otherwise_has_those_of_the_engine_it_is(made: Bundle, tmp_path: Path) -> None:
    engine = open_bundle(made.root, Path("b.zip")).engine
    moved = of_engine(found(tmp_path / "t"), engine)
    assert moved is not None and has_moved(moved)
    assert in_words(moved).endswith("f stays at 0.5 and 6 more")
    assert of_engine(found(tmp_path / "t", precision="bf16"), engine) is None
    assert of_engine(None, engine) is None and not has_moved(None)


def test_deepstreams_file_names_them_below_its_own(tmp_path: Path) -> None:
    text = bundled(tmp_path, found, "deepstream").path(f"deepstream/{deepstream.CONFIG}").read_text()
    assert "pre-cluster-threshold=0.5\n# FP32's 0.5 belongs at 0.0400 on the measured engine's scores" in text
    assert "[class-attrs-1] with pre-cluster-threshold=0.9900" in text and "[class-attrs-2]" not in text


def test_a_damaged_file_is_told(tmp_path: Path, made: Bundle) -> None:
    damaged = found(tmp_path / "t")
    damaged.path("thresholds.json").write_text("{}")
    with pytest.raises(InputError, match=r"thresholds\.json cannot be read: schema_version is missing"):
        of_engine(damaged, open_bundle(made.root, Path("b.zip")).engine)
