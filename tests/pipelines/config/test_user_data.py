"""The layout of the user's data: found, told, refused where it is not clear; and what a run makes of it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from hydra import compose
from omegaconf import OmegaConf

from pipelines.config import resolvers, schema
from pipelines.config.compose import Command, hydra_for
from pipelines.config.load import examine
from pipelines.config.schema import PipelineConfig
from pipelines.config.user_data import described
from pipelines.graph.compress import compress_graph
from pipelines.graph.user_inputs import model_order, with_labels
from pipelines.retraining.snapshot import changed, snapshot
from stages.errors import ConfigError
from tests.stages.data.formats import writers
from tests.stages.data.formats.test_readers import WRITERS

KINDS = list(WRITERS)


def examined(data: str, *values: str, finetune_only: bool = False) -> tuple[PipelineConfig, list[str]]:
    schema.register()
    resolvers.register_resolvers()
    with hydra_for(Command([])):
        config = compose("config", [f"data={data}"])
    merged = OmegaConf.merge(config, OmegaConf.from_dotlist(["model.random_weights=true", *values]))
    loaded, problems = examine(merged, finetune_only=finetune_only)  # type: ignore[arg-type]
    return loaded, [str(problem) for problem in problems]


def resolved(data: str, root: Path, *values: str) -> PipelineConfig:
    config, problems = examined(data, f"data.root={root}", *values)
    assert problems == []
    return config


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return writers.coco_folder(tmp_path / "coco")


@pytest.mark.parametrize("kind", KINDS)
def test_a_layout_is_found_and_told_in_one_line(kind: str, coco: Path, tmp_path: Path) -> None:
    root = WRITERS[kind](coco, tmp_path / "zip" / kind)
    for data, folder in ((kind, root), ("auto", root), ("auto", tmp_path / "zip")):
        config = resolved(data, folder)
        assert (config.data.kind, config.data.root, config.data.name) == (kind, str(root), folder.name)
        (line,) = described(config.data)
        assert line.endswith(f"3 training and 3 validation images under {root}")
        assert model_order(config) == ["b", "a"]


def test_our_own_layout_is_found(coco: Path) -> None:
    data = resolved("auto", coco).data
    assert (data.train_images, data.val_annotations) == (str(coco / "train"), str(coco / "val.json"))
    assert data.unlabeled_images == str(coco / "train")
    assert list(described(data)) == [f"COCO labels {coco}/train.json and {coco}/val.json"]
    assert list(described(resolved("coco_folder", coco).data)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_converts_first_and_sees_a_changed_label(kind: str, coco: Path, tmp_path: Path) -> None:
    root = WRITERS[kind](coco, tmp_path / kind)
    config = resolved(kind, root)
    nodes = {node.id: node for node in compress_graph(with_labels(config), None, threads=1)}
    assert next(iter(nodes)) == "convert"
    assert "convert" in nodes["labels.val"].upstream()
    assert "convert" in nodes["images.unlabeled"].upstream()
    key = nodes["convert"].key(nodes["convert"].resolve({}), 0)
    label = next(path for path in sorted(root.rglob("*")) if path.suffix in (".txt", ".xml", ".json"))
    os.utime(label, ns=(1, 1))
    again = next(node for node in compress_graph(with_labels(config), None, threads=1) if node.id == "convert")
    assert again.key(again.resolve({}), 0) != key


def test_the_seed_counts_only_where_images_are_held_out(coco: Path, tmp_path: Path) -> None:
    root = writers.as_yolo(coco, tmp_path / "yolo")
    (node, *_) = compress_graph(with_labels(resolved("yolo", root)), None, threads=1)
    assert not node.seeded
    (root / "data.yaml").write_text("train: images/train\nnames: [b, a]\n")
    config = resolved("yolo", root, "data.val_fraction=0.5")
    (node, *_) = compress_graph(with_labels(config), None, threads=1)
    assert node.seeded
    assert list(described(config.data)) == [f"YOLO, 3 images, 50% of them held out for validation, under {root}"]


def test_one_split_alone_suggests_to_hold_some_out(coco: Path, tmp_path: Path) -> None:
    root = writers.as_yolo(coco, tmp_path / "yolo")
    (root / "data.yaml").write_text("train: images/train\nnames: [b, a]\n")
    said = [
        f"data.val_fraction: is not given, and {root} has training images only; hold out a share of them to score on, "
        "e.g. data.val_fraction=0.2"
    ]
    assert examined("auto", f"data.root={root}")[1] == said
    assert examined("auto", f"data.root={root}", "data.val_fraction=0.2")[1] == []
    (coco / "val.json").unlink()
    assert examined("auto", f"data.root={coco}")[1] == [said[0].replace(str(root), str(coco))]


@pytest.mark.parametrize("data", ["auto", "coco_folder"])
def test_one_coco_folder_is_divided(data: str, coco: Path) -> None:
    assert [p.partition(":")[0] for p in examined(data, f"data.root={coco}", "data.val_fraction=0.5")[1]] == [
        "data.val_fraction"
    ]
    (coco / "val.json").unlink()
    config = resolved(data, coco, "data.val_fraction=0.5")
    assert config.data.val_images == config.data.train_images == str(coco / "train")
    nodes = {node.id: node for node in compress_graph(with_labels(config), None, threads=1)}
    assert nodes["convert"].options.kind == "coco"
    assert nodes["images.unlabeled"].options.annotations == "train.json"


@pytest.mark.parametrize("fraction", ["0", "1", "-0.1"])
def test_a_share_is_between_none_and_all(fraction: str, coco: Path) -> None:
    (problem,) = examined("auto", f"data.root={coco}", f"data.val_fraction={fraction}")[1]
    assert problem.startswith("data.val_fraction: ") and "more than 0 and less than 1" in problem


def test_what_is_not_clear_is_one_problem(coco: Path, tmp_path: Path) -> None:
    assert examined("auto")[1] == [
        "data.root: is not given; name the folder of your data set, e.g. data.root=/data/mine"
    ]
    assert examined("voc", "data.root=/nowhere")[1] == ["data.root: there is no folder /nowhere; check the path"]
    (problem,) = examined("auto", f"data.root={tmp_path / 'coco' / 'train'}")[1]
    assert problem.startswith("data.root: no data set was recognised in ")
    root = writers.as_voc(coco, tmp_path / "both")
    (root / "data.yaml").write_text("train: images\nnames: [a]\n")
    (problem,) = examined("auto", f"data.root={root}")[1]
    assert "fits YOLO (data.yaml) and Pascal VOC (Annotations/*.xml)" in problem
    assert resolved("voc", root).data.kind == "voc"


def test_paths_and_a_layout_that_is_looked_for_exclude_each_other(coco: Path) -> None:
    (problem,) = examined("auto", f"data.root={coco}", "data.val_images=/x")[1]
    assert problem.startswith("data.val_images: is found by data=auto")
    (problem,) = examined("shapes", "data.val_fraction=0.1")[1]
    assert problem.startswith("data.val_fraction: data=shapes draws")


def test_boxes_of_a_class_that_the_model_lacks_are_refused(coco: Path, tmp_path: Path) -> None:
    config = resolved("voc", writers.as_voc(coco, tmp_path / "voc"))
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, labels=["b"]))
    with pytest.raises(ConfigError, match=r"boxes of classes that the model does not know: a \(2\)"):
        with_labels(config)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_label_file_is_a_reason_to_retrain(kind: str, coco: Path, tmp_path: Path) -> None:
    root = WRITERS[kind](coco, tmp_path / kind)
    config = with_labels(resolved(kind, root, "retrain.finetune=true"))
    before = snapshot(config, None, None)
    assert before["labels"]["train"]["classes"] == ["b", "a"]
    assert [before["labels"]["val"][key] for key in ("images", "boxes", "boxed")] == [3, 4, 2]
    assert {name: len(files) for name, files in before["images"].items()} == {"unlabeled": 3, "val": 3, "train": 3}
    assert changed(before, snapshot(config, None, before), config.retrain) == []
    pattern = {"yolo": "labels/train/train_0.txt", "voc": "Annotations/train_0.xml", "roboflow": "train/*.json"}[kind]
    (label,) = root.glob(pattern)
    label.write_text(label.read_text() + "\n")
    assert changed(before, snapshot(config, None, before), config.retrain) == ["the labels of train are others"]
