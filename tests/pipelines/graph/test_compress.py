"""The keys of what is collected cover every image that is opened, whatever its labels call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.config.schema import PipelineConfig
from pipelines.config.user_data import resolve
from pipelines.graph.compress import compress_graph, finetune_nodes
from pipelines.retraining.snapshot import changed, snapshot
from stages.artifacts import LabeledSet
from stages.options.data import DataOptions
from stages.training.finetune import Finetune

NAMES = ("plain.jpg", "photo.jfif", "noending", ".hidden/a.png", "sub/.b.jpg", "linked/c.jpg", "win\\d.jpg", "/e.bin")
"""How labels name images. The last is absolute; ``linked`` leads elsewhere."""


def place(images: Path, name: str) -> Path:
    """Where an image of `NAMES` lies, for a data set whose images are in ``images``."""
    if name.startswith("linked/"):
        return images.with_name(f"not-{images.name}") / name.removeprefix("linked/")
    return images / name.lstrip("/").replace("\\", "/")


def labelled(images: Path, labels: Path, mark: str) -> None:
    """A COCO set with an image of each name."""
    images.mkdir(parents=True)
    (images / "linked").symlink_to(place(images, "linked/").absolute())
    named = [f"{images}{name}" if name.startswith("/") else name for name in NAMES]
    for name in NAMES:
        path = place(images, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{mark} {name}")
    content = {
        "images": [{"id": i, "file_name": name, "width": 9, "height": 9} for i, name in enumerate(named, start=1)],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "thing"}],
    }
    labels.write_text(json.dumps(content))


LAYOUTS = {
    "coco_folder": {"labels.train"},
    "divided": {"convert", "labels.train", "labels.val", "images.unlabeled"},
    "roboflow": {"convert", "labels.train", "images.unlabeled"},
}
"""Layout -> the nodes that look at an image of the training set."""


def configured(root: Path, layout: str) -> PipelineConfig:
    made = PipelineConfig()
    made.backend, made.finetune.enabled = {}, True
    if layout == "roboflow":
        for name in ("train", "valid"):
            labelled(root / name, root / f"{name}.json", name)
            (root / f"{name}.json").rename(root / name / "_annotations.coco.json")
        made.data = DataOptions(kind="roboflow", root=str(root))
    else:
        labelled(root / "train", root / "train.json", "train")
        made.data = DataOptions(
            kind="coco_folder", train_annotations=str(root / "train.json"), train_images=str(root / "train")
        )
    if layout == "divided":
        made.data.val_fraction = 0.5
    if layout == "coco_folder":
        labelled(root / "val", root / "val.json", "val")
        (root / "unlabeled").mkdir()
        made.data.val_annotations, made.data.val_images = str(root / "val.json"), str(root / "val")
        made.data.unlabeled_images = str(root / "unlabeled")
    assert resolve(made.data) == []
    return made


def listings(config: PipelineConfig) -> dict[str, str]:
    """Node -> what its key holds of the user's files."""
    nodes = [*compress_graph(config, None, threads=1), *finetune_nodes(config, None, threads=1)]
    return {node.id: node.options.listing for node in nodes if hasattr(node.options, "listing")}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_bytes_of_a_labelled_image_are_another_key(tmp_path: Path, layout: str) -> None:
    config = configured(tmp_path / "data", layout)
    before, seen = listings(config), snapshot(config, None, None)
    assert listings(config) == before and changed(seen, snapshot(config, None, seen), config.retrain) == []
    for name in NAMES:
        place(Path(str(config.data.train_images)), name).write_text(f"other bytes {name}")
        after, now = listings(config), snapshot(config, None, seen)
        assert {node for node in before if before[node] != after[node]} == LAYOUTS[layout], name
        found = changed(seen, now, config.retrain)
        assert found and {text.partition(": ")[2] for text in found} == {"1 changed"}, name
        before, seen = after, now


def test_an_image_that_no_label_names_is_none_of_the_key(tmp_path: Path) -> None:
    config = configured(tmp_path / "data", "coco_folder")
    before = listings(config)
    (tmp_path / "data" / "train" / "more.jpg").write_text("not labelled yet")
    assert listings(config) == before
    (tmp_path / "data" / "unlabeled" / "more.jpg").write_text("more to learn from")
    assert {node for node, listing in listings(config).items() if before[node] != listing} == {"images.unlabeled"}


def test_a_training_of_before_the_choice_of_kernels_is_still_found() -> None:
    config = PipelineConfig()
    config.data.kind, config.finetune.enabled = "shapes", True
    node = finetune_nodes(config, None, threads=1)[-1]
    inputs = Finetune.Inputs(LabeledSet(root=Path(), images_root="", images=1, boxes=1, images_digest=""))
    plain = node.key(inputs, 0)
    assert "kernels" not in plain.parts["options"]
    for chosen in ("onednn", "paddle"):
        config.finetune.kernels = chosen
        node = finetune_nodes(config, None, threads=1)[-1]
        assert node.key(inputs, 0).parts["options"] == {**plain.parts["options"], "kernels": chosen}
        assert node.origins["kernels"] == "finetune.kernels"
