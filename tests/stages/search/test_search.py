"""What the search holds out, and what it refuses before anything is computed."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from stages.artifacts import ExportedModel, ImageList, LabeledSet, Precision, hash_files, sha256_of
from stages.detection.unlabeled import listed_paths
from stages.distillation.distill import Distill
from stages.errors import ConfigError, DataError, StageError
from stages.numerics import algorithms
from stages.options.compression import SEARCHED
from stages.options.search import SearchOptions, budget_seconds
from stages.search import search
from stages.search.search import ALGORITHMS, Search, SearchInputs
from stages.search.workshop import without
from tests.fakes import FakeContext


def pictures(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    for i in range(count):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((8, 8, 3), i, np.uint8))
    return sorted(folder.iterdir())


def image_list(root: Path, paths: list[Path]) -> ImageList:
    root.mkdir()
    entries = [{"path": str(path), "sha256": sha256_of(path), "width": 8, "height": 8} for path in paths]
    (root / "images.json").write_text(json.dumps(entries))
    return ImageList(root=root, files=hash_files(root), count=len(entries))


def labeled(root: Path, paths: list[Path]) -> LabeledSet:
    root.mkdir()
    images = [{"id": i, "file_name": path.name, "width": 8, "height": 8} for i, path in enumerate(paths)]
    coco = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "x"}]}
    (root / "annotations.json").write_text(json.dumps(coco))
    return LabeledSet(
        root=root, files=hash_files(root), images_root=str(paths[0].parent), images=len(paths), boxes=0,
        images_digest="", labels=["x"],
    )  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> ExportedModel:
    return ExportedModel(root=tmp_path, precision=Precision.FP32, input_size=[32, 32])


def test_images_that_are_judged_on_are_left_out_as_copies_too(tmp_path: Path) -> None:
    paths = pictures(tmp_path / "train", 6)
    copies = [Path(shutil.copyfile(path, tmp_path / f"copy-{path.name}")) for path in paths]
    rest = without(image_list(tmp_path / "list", copies), paths[:2], tmp_path / "rest")
    assert listed_paths(rest) == copies[2:]
    assert rest.count == 4
    with pytest.raises(DataError, match=r"compression\.judge_images"):
        without(image_list(tmp_path / "all", copies), paths, tmp_path / "none")


def test_at_most_half_of_the_labelled_training_images_are_judged_on(
    tmp_path: Path, model: ExportedModel, context: FakeContext
) -> None:
    paths = pictures(tmp_path / "train", 10)
    inputs = SearchInputs(model, image_list(tmp_path / "list", paths), labeled(tmp_path / "labels", paths))
    judged, rest = Search(SearchOptions(method="auto"))._pictures(inputs, context)
    assert len(judged.paths) == 5
    assert judged.coco is not None and len(judged.coco["images"]) == 5
    assert not set(judged.paths) & set(listed_paths(rest))
    assert rest.count == 5


def test_without_labels_it_says_that_distances_are_judged(
    tmp_path: Path, model: ExportedModel, context: FakeContext
) -> None:
    inputs = SearchInputs(model, image_list(tmp_path / "list", pictures(tmp_path / "train", 12)))
    judged, rest = Search(SearchOptions(method="auto"))._pictures(inputs, context)
    assert (len(judged.paths), judged.coco, rest.count) == (3, None, 9)
    assert "distance of outputs" in context.warnings[0]


@pytest.mark.parametrize("with_labels", [True, False])
def test_too_few_images_are_refused_with_what_to_do(
    tmp_path: Path, model: ExportedModel, context: FakeContext, with_labels: bool
) -> None:
    paths = pictures(tmp_path / "train", 3)
    labels = labeled(tmp_path / "labels", paths) if with_labels else None
    inputs = SearchInputs(model, image_list(tmp_path / "list", paths), labels)
    with pytest.raises(DataError, match="too few for an interval; give more"):
        Search(SearchOptions(method="auto")).run(inputs, context)


@pytest.mark.parametrize("lighter", [True, False])
def test_it_warns_where_a_lighter_model_has_learned_on_what_it_judges_on(
    tmp_path: Path, model: ExportedModel, context: FakeContext, lighter: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lighter:
        model = replace(model, files={"light.json": "0"})
    paths = pictures(tmp_path / "train", 8)
    inputs = SearchInputs(model, image_list(tmp_path / "list", paths), labeled(tmp_path / "labels", paths))

    def stop(*of: object) -> None:
        raise StageError("here")

    monkeypatch.setattr(search, "ModelWorkshop", stop)
    with pytest.raises(StageError, match="here"):
        Search(SearchOptions(method="auto")).run(inputs, context)
    assert context.warnings == ([search.LEARNED_ON] if lighter else [])


def test_options_that_cannot_be_used_are_all_named(tmp_path: Path, model: ExportedModel, context: FakeContext) -> None:
    inputs = SearchInputs(model, image_list(tmp_path / "list", pictures(tmp_path / "train", 3)))
    wrong = SearchOptions(method="auto", max_drop=0.0, time_budget="2 hours", judge_images=1)
    with pytest.raises(ConfigError) as error:
        Search(wrong).run(inputs, context)
    for name in ("max_drop", "time_budget", "judge_images"):
        assert re.search(f"compression.{name}: ", str(error.value)), name


def test_budgets_are_read_with_their_unit() -> None:
    assert [budget_seconds(text) for text in ("90s", "1.5m", "2h", "1d")] == [90, 90, 7200, 86_400]


def test_every_algorithm_of_the_ranges_is_tried() -> None:
    assert sorted(ALGORITHMS) == sorted(algorithms.ALGORITHMS)


def test_what_only_the_search_reads_leaves_the_keys_of_distillations_alone() -> None:
    assert set(SEARCHED) <= set(Distill.unkeyed)
    assert set(SEARCHED) <= {f.name for f in fields(SearchOptions)}
    assert not set(SEARCHED) & set(Search.unkeyed)
