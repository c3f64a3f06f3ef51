"""Weights and data that are missing, incomplete or contradictory, in the words the user reads."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import cast

import pytest
from hydra import compose
from omegaconf import DictConfig, OmegaConf

from pipelines.config import resolvers, schema
from pipelines.config.compose import Command, hydra_for
from pipelines.config.load import examine, load
from stages.errors import ConfigError

RUNS = "model.random_weights=true"
"""With this, the default config has nothing to complain about."""


@functools.cache
def composed(data: str) -> DictConfig:
    schema.register()
    resolvers.register_resolvers()
    with hydra_for(Command([])):
        return compose("config", [f"data={data}"])


def changed(data: str, values: tuple[str, ...]) -> DictConfig:
    return cast(DictConfig, OmegaConf.merge(composed(data), OmegaConf.from_dotlist(list(values))))


def problems(*values: str, finetune_only: bool = False) -> list[str]:
    return [str(problem) for problem in examine(changed("shapes", values), finetune_only=finetune_only)[1]]


def folder_problems(*values: str) -> list[str]:
    return [str(problem) for problem in examine(changed("coco_folder", values))[1]]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A data set's skeleton; the check looks at paths, not into files."""
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        (tmp_path / f"{split}.json").write_text(json.dumps({"images": []}))
    return tmp_path


def test_settings_that_exclude_each_other(tmp_path: Path) -> None:
    weights = tmp_path / "w.pdparams"
    weights.touch()
    for name in ("model.pdmodel", "model.pdiparams"):
        (tmp_path / name).touch()
    given, frozen = f"model.weights={weights}", f"model.inference_dir={tmp_path}"
    assert problems(given) == []
    assert problems(frozen) == []
    assert problems(given, frozen) == ["model: weights and inference_dir exclude each other; set one of them to null"]
    assert problems(given, RUNS) == ["model: random_weights=true and weights exclude each other; leave one out"]
    assert problems(frozen, "finetune.enabled=true") == [
        "model.inference_dir: an exported model cannot be trained; give its checkpoint as model.weights, "
        "or set finetune.enabled=false"
    ]
    assert problems(RUNS, "finetune.enabled=true") == [
        "model.random_weights: is for runs without training; training starts from random weights anyway"
    ]


def test_a_size_that_cannot_be_trained_may_still_be_run() -> None:
    small = "model.input_size=[64,64]"
    assert problems(RUNS, small) == []
    assert problems("finetune.enabled=true", small) == [
        "model.input_size=[64, 64] is too small to train: [96, 96] is the smallest square"
    ]


def test_weights_that_are_not_there_or_something_else(tmp_path: Path) -> None:
    missing = tmp_path / "x.pdparams"
    assert problems(f"model.weights={missing}") == [f"model.weights: there is no file {missing}; check the path"]
    (tmp_path / "model.pdmodel").touch()
    assert problems(f"model.inference_dir={tmp_path}") == [
        f"model.inference_dir: {tmp_path} lacks model.pdiparams, the parameters of model.pdmodel; copy it there too"
    ]
    (tmp_path / "model.pdiparams").touch()
    assert problems(f"model.weights={tmp_path}") == [
        f"model.weights: {tmp_path} is a folder; give model.inference_dir={tmp_path}"
    ]
    assert problems(f"model.weights={tmp_path / 'model.pdmodel'}") == [
        f"model.weights: {tmp_path / 'model.pdmodel'} is part of an exported model; give model.inference_dir={tmp_path}"
    ]
    (tmp_path / "inference.json").touch()
    assert problems(f"model.inference_dir={tmp_path}") == [
        f"model.inference_dir: {tmp_path} has several exported models: model.pdmodel, inference.json; move all but one "
        "of them elsewhere"
    ]
    assert problems("model.inference_dir=/nowhere") == [
        "model.inference_dir: there is no folder /nowhere; check the path"
    ]
    assert problems("model.weights=ftp://host/x.pdparams") == [
        "model.weights: ftp://host/x.pdparams is no http(s) URL; fetch the file and give its path"
    ]
    assert problems("model.weights=https://host/x.pdparams") == []


def test_data_that_is_not_there(coco: Path, tmp_path: Path) -> None:
    assert folder_problems(RUNS) == [
        "data.root: is not given; name the folder of your data set, e.g. data.root=/data/mine"
    ]
    assert folder_problems(RUNS, "data.root=/nowhere") == ["data.root: there is no folder /nowhere; check the path"]
    assert folder_problems(RUNS, f"data.root={coco}") == []
    (coco / "val.json").unlink()
    (coco / "train.json").unlink()
    val = f"data.val_annotations: there is no file {coco}/val.json; check the path"
    assert folder_problems(RUNS, f"data.root={coco}") == [val]
    assert folder_problems("finetune.enabled=true", f"data.root={coco}") == [
        f"data.train_annotations: there is no file {coco}/train.json; check the path",
        val,
    ]
    assert folder_problems(RUNS, f"data.root={coco}", "data.val_annotations=null") == [
        "data.val_annotations: is not given; name the COCO file of data.val_images, or set both to null to measure "
        "speed only"
    ]
    without = ("data.val_annotations=null", "data.val_images=null")
    assert folder_problems(RUNS, *without, f"data.unlabeled_images={coco}/train") == []
    assert folder_problems(RUNS, *without, "data.unlabeled_images=null") == [
        "data.unlabeled_images: is not given; name the folder of images that the compression learns from"
    ]


def test_a_home_folder_may_be_written_short(monkeypatch: pytest.MonkeyPatch, coco: Path) -> None:
    monkeypatch.setenv("HOME", str(coco.parent))
    assert folder_problems(RUNS, f"data.root=~/{coco.name}", "data.unlabeled_images='~'") == []


def test_a_data_set_without_a_name_gets_that_of_its_folder(coco: Path) -> None:
    config = load(changed("coco_folder", (RUNS, f"data.root={coco}")))
    assert config.data.name == coco.name
    assert load(changed("shapes", (RUNS,))).data.name == "shapes"


def test_loading_a_wrong_config_names_every_problem() -> None:
    with pytest.raises(ConfigError, match="the config has 2 problems") as caught:
        load(changed("shapes", ("seed=-1",)))
    assert [text.split(":")[0] for text in caught.value.problems] == ["seed", "model.weights"]


def test_a_drop_needs_labels_to_judge_it_on(coco: Path) -> None:
    given = (RUNS, f"data.root={coco}", f"data.unlabeled_images={coco / 'val'}", "compression.max_map_drop=0.5")
    assert folder_problems(*given) == []
    without = ("data.val_annotations=null", "data.val_images=null")
    assert folder_problems(*given, *without) == []  # the training labels are there
    (coco / "train.json").unlink()
    (found,) = folder_problems(*given, *without)
    assert found.startswith("compression.max_map_drop: is judged on labelled images; give data.val_annotations")
    (found,) = folder_problems(*given, "sensitivity.labels=train")
    assert found.startswith("sensitivity.labels: there are no labelled images of train")
    (found,) = folder_problems(*given, "sensitivity.labels=none")
    assert found.startswith("compression.max_map_drop: is judged on labelled images")
    assert folder_problems(*given[:-1], *without) == []


def test_a_drop_needs_something_that_is_quantized_and_an_engine_of_the_run(coco: Path) -> None:
    assert problems(RUNS, "compression.max_map_drop=0.5") == []
    (found,) = problems(RUNS, "compression.max_map_drop=0.5", "compression.method=none")
    assert "quantizes nothing" in found
    (found,) = problems(RUNS, "compression.max_map_drop=0.5", "sensitivity.backend=openvino")
    assert found == "sensitivity.backend: openvino is none of the run's backends (onnxruntime); choose one"
    (found,) = problems(RUNS, "sensitivity.backend=cuda")
    assert "there is no backend cuda" in found
    assert problems(RUNS, "sensitivity.backend=openvino") == []
    (found,) = problems(RUNS, "compression.max_map_drop=-1")
    assert "at least 0" in found


def test_calibration_images_have_to_be_there(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert problems(RUNS, f"data.calibration_images={missing}") == [
        f"data.calibration_images: there is no folder {missing}; check the path"
    ]
    assert problems(RUNS, f"data.calibration_images={tmp_path}") == [
        f"data.calibration_images: {tmp_path} holds no images; name another folder, or set it to null"
    ]
    (tmp_path / "a.png").touch()
    assert problems(RUNS, f"data.calibration_images={tmp_path}") == []


def test_a_target_is_compared_with_map_on_labels() -> None:
    said = (
        "compression.target_map: is compared with mAP on training labels while a student is trained; choose "
        "compression.eval_by=map and a number of steps for compression.eval_every, or set it to null"
    )
    assert problems(RUNS, "compression.target_map=40") == [said]
    by_map = "compression.eval_by=map"
    assert problems(RUNS, "compression.target_map=40", by_map) == []
    assert problems(RUNS, "compression.target_map=40", by_map, "compression.eval_every=null") == [said]
    assert problems(RUNS, "compression.target_map=40", by_map, "compression.method=ptq") == [said]
    (found,) = problems(RUNS, "compression.target_map=0.365", "compression.target_map=101", by_map)
    assert found == "compression.target_map: 101.0 does not fit; it must be between 0 and 100"


def test_a_lighter_model_needs_a_compression_and_silu_to_exchange() -> None:
    assert problems(RUNS, "compression.activation=relu") == []
    assert problems(RUNS, "compression.activation=keep", "compression.method=none") == []
    for key, value in (("activation", "relu"), ("prune", "0.3")):
        (said,) = problems(RUNS, f"compression.{key}={value}", "compression.method=none")
        assert said.startswith(f"compression.{key}: compression=none makes no INT8 model of the lighter one")
    with hydra_for(Command([])):
        relu = compose("config", ["data=shapes", "model=ppyoloe_plus_t_relu", RUNS])

    def of_relu(*values: str) -> list[str]:
        merged = cast(DictConfig, OmegaConf.merge(relu, OmegaConf.from_dotlist(list(values))))
        return [str(problem) for problem in examine(merged)[1]]

    (said,) = of_relu("compression.activation=leaky_relu")
    assert said.startswith("compression.activation: backbone and neck of model=ppyoloe_plus_t_relu have no SiLU")
    assert of_relu("compression.prune=0.3") == []
    assert of_relu("compression.activation=leaky_relu", "model.architecture.CustomCSPPAN.act=swish") == []
    (said,) = problems(RUNS, "compression.activation=hardswish")
    assert said.startswith("compression.activation: hardswish is in ONNX from operator set 14 on")
    assert problems(RUNS, "compression.activation=hardswish", "export.opset=14") == []
    (said,) = problems(RUNS, "compression.activation=gelu")
    assert "it must be one of keep, relu, leaky_relu, hardswish" in said
