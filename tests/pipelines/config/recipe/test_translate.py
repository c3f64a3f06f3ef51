"""Recipes of FastDeploy and of PaddleSlim's ACT: every key of the public ones is taken, or named with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.config.recipe.brought import model_of
from pipelines.config.recipe.source import Translation
from pipelines.config.recipe.translate import translate
from pipelines.config.schema import PipelineConfig
from stages.detection.published import PUBLISHED
from stages.distillation.loop import Loop
from stages.errors import InputError
from tests.fakes import FakeContext
from tests.pipelines.recipes import READER, act, composed, fastdeploy


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Translation]:
    """Translates a recipe in a folder in which its models and images are."""
    monkeypatch.chdir(tmp_path)
    for folder in ("ppyoloe_crn_l_300e_coco", "ppyoloe_plus_crn_s_80e_coco", "train", "val", "configs"):
        (tmp_path / folder).mkdir()

    def translated(content: Any, **options: Any) -> Translation:
        file = tmp_path / "configs" / "recipe.yaml"
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return translate(file, **options)

    return translated


def rate(config: PipelineConfig, step: int, folder: Path) -> float:
    unused: Any = None
    return Loop(unused, unused, None, config.compression, FakeContext(folder)).rate(step)


@pytest.mark.parametrize(
    ("model", "preprocess", "section", "name"),
    [
        ("./ppyoloe_crn_l_300e_coco", "ppyoloe_withNMS_image_preprocess", "QuantAware", "ppyoloe_l"),
        ("./ppyoloe_plus_crn_s_80e_coco", "ppyoloe_plus_withNMS_image_preprocess", "Quantization", "ppyoloe_plus_s"),
    ],
)
def test_fastdeploys_recipe_is_taken_whole(
    model: str, preprocess: str, section: str, name: str, given: Callable[..., Translation], tmp_path: Path
) -> None:
    found = given(fastdeploy(model, preprocess, section))
    config = composed(found)
    own = config.compression
    assert (config.model.name, config.model.inference_dir) == (name, model)
    assert (config.data.kind, config.data.unlabeled_images) == ("coco_folder", "train")
    assert (own.method, own.steps, own.batch, own.loss, own.alpha) == ("qat_distill", 5000, 4, "soft_label", 1.0)
    assert (own.use_pact, own.activation_ranges) == (True, "moving_average")
    assert (own.lr, own.weight_decay, own.cosine_length) == (3e-5, 4e-5, 1.2)
    assert rate(config, 4999, tmp_path) == pytest.approx(2.01e-6, rel=2e-3)  # as theirs, not at 0
    assert found.left == [
        "Global.ptq_image_path: is not read by this method (import-config --method PTQ takes it)",
        "PTQ: is not read by QAT; import-config --method PTQ takes it",
    ]
    (missing,) = found.missing
    assert missing.startswith("data.val_annotations=FILE and data.val_images=DIR")


def test_fastdeploys_recipe_after_training(given: Callable[..., Translation]) -> None:
    content = fastdeploy("./ppyoloe_crn_l_300e_coco", "ppyoloe_withNMS_image_preprocess", "QuantAware")
    content["PTQ"]["skip_tensor_list"] = ["conv2d_9.w_0", "swish_1.tmp_0"]
    found = given(content, method="PTQ")
    config = composed(found)
    assert (config.compression.method, config.compression.ptq_algo) == ("ptq", "avg")
    assert config.compression.skip_tensor_list == ["conv2d_9.w_0", "swish_1.tmp_0"]
    assert config.data.unlabeled_images == "val"
    assert [text.partition(":")[0] for text in found.left] == [
        *("Global.qat_image_path", "QuantAware", "Distillation", "TrainConfig"),
    ]


def test_acts_recipe_with_its_reader(given: Callable[..., Translation], tmp_path: Path) -> None:
    without = given(act("./ppyoloe_crn_l_300e_coco"))
    assert without.left == [
        "Global.reader_config: there is no file configs/reader.yml here; name it with --reader, or give data and model"
    ]
    assert [text.partition("=")[0] for text in without.missing] == [
        "data", "data.val_annotations", "data.train_annotations",
    ]  # fmt: skip
    (tmp_path / "configs" / "reader.yml").write_text(READER)
    found = given(act("./ppyoloe_crn_l_300e_coco"))
    assert (found.left, found.missing) == ([], [])
    config = composed(found)
    data, own = config.data, config.compression
    assert (data.train_annotations, data.train_images) == (
        "coco/annotations/instances_train2017.json",
        "coco/train2017",
    )
    assert (data.val_annotations, data.val_images) == ("coco/annotations/instances_val2017.json", "coco/val2017")
    assert data.unlabeled_images == "coco/train2017"
    assert (own.batch, own.eval_every, own.eval_by, own.target_map) == (8, 1000, "map", None)
    assert (config.model.input_size, config.model.interpolation) == ([640, 640], "cubic")
    assert "model.mean" not in found.values  # those of the model
    other = given(act("./ppyoloe_plus_crn_s_80e_coco"))  # which takes images as they are
    assert other.values["model.mean"] == [0.485, 0.456, 0.406]


def test_a_target_and_a_constant_rate(given: Callable[..., Translation], tmp_path: Path) -> None:
    """FastDeploy's own example."""
    found = given(act("./ppyoloe_crn_l_300e_coco", train_iter=3000, learning_rate=0.00001, target_metric=0.365))
    config = composed(found)
    assert (config.compression.eval_by, config.compression.target_map) == ("map", 36.5)
    assert [rate(config, step, tmp_path) for step in (0, 2999)] == [1e-5, 1e-5]
    assert any(text.startswith("data.train_annotations=FILE") for text in found.missing)


def test_paddledetections_longer_recipe_rises_again_as_it_does_there(
    given: Callable[..., Translation], tmp_path: Path
) -> None:
    config = composed(given(act("./ppyoloe_crn_l_300e_coco", train_iter=8000)))
    assert rate(config, 6000, tmp_path) == pytest.approx(0, abs=1e-12) and rate(config, 7999, tmp_path) > 7e-6


def test_what_a_recipe_leaves_out_is_what_its_tool_does_then(given: Callable[..., Translation]) -> None:
    config = composed(given({"Global": {}, "QuantAware": None, "TrainConfig": {"train_iter": 7, "learning_rate": 0.1}}))
    own = config.compression
    assert (own.use_pact, own.loss, own.weight_decay) == (False, "l2", 0)


def test_every_key_that_is_not_taken_is_named_with_the_reason(given: Callable[..., Translation]) -> None:
    """Those of PicoDet's, SSD's and YOLOv5's recipes, and of ACT's tutorial."""
    found = given(
        {
            "Global": {"model_dir": "yolov5s.onnx", "format": "onnx", "model_filename": "__model__", "arch": "keypoint",
                       "input_list": ["x2paddle_images"], "qat_preprocess": "yolo_image_preprocess", "mine": 1},
            "Distillation": {"loss": "fsp", "node": ["conv2d_1.tmp_1"], "teacher_model_dir": "big", "alpha": [1, 2]},
            "Quantization": {"activation_quantize_type": "range_abs_max", "weight_bits": 4, "for_tensorrt": True,
                             "quantize_op_types": ["conv2d", "relu"], "weight_quantize_type": "range_abs_max",
                             "onnx_format": False, "is_full_quantize": True, "not_quant_pattern": ["mine"]},
            "TrainConfig": {"epochs": 3, "learning_rate": {"type": "PiecewiseDecay", "boundaries": [4500]},
                            "origin_metric": 0.4, "amp_config": {"use_pure_fp16": True}, "target_metric": 36.5,
                            "optimizer_builder": {"optimizer": {"type": "Momentum", "momentum": 0.9},
                                                  "grad_clip": {"type": "ClipGradByNorm"}}},
            "ChannelPrune": {"pruned_ratio": 0.25},
            "HyperParameterOptimization": {"ptq_algo": ["KL"]},
        }
    )  # fmt: skip
    named = {text.partition(": ")[0]: text.partition(": ")[2] for text in found.left}
    assert set(named) == {
        *(f"Global.{key}" for key in ("format", "model_filename", "arch", "input_list", "qat_preprocess", "mine")),
        *(f"Distillation.{key}" for key in ("loss", "node", "teacher_model_dir", "alpha")),
        *(f"Quantization.{key}" for key in ("activation_quantize_type", "weight_bits", "for_tensorrt", "onnx_format")),
        *(f"Quantization.{key}" for key in ("quantize_op_types", "weight_quantize_type", "not_quant_pattern")),
        *("Quantization.is_full_quantize", "ChannelPrune", "HyperParameterOptimization"),
        *(f"TrainConfig.{key}" for key in ("epochs", "learning_rate", "origin_metric", "amp_config", "target_metric")),
        *("TrainConfig.optimizer_builder.optimizer.type", "TrainConfig.optimizer_builder.optimizer.momentum"),
        "TrainConfig.optimizer_builder.grad_clip",
    }
    assert all(len(why) > 15 for why in named.values())
    assert [text.partition("=")[0] for text in found.missing] == [
        *("compression.steps", "model", "model.inference_dir", "data", "data.val_annotations"),
    ]
    composed(found)  # what was taken is right for all that


def test_acts_quantization_after_training(given: Callable[..., Translation]) -> None:
    section = {
        "batch_size": 4,
        "batch_nums": 10,
        "algo": "KL",
        "recon_level": "None",
        "skip_tensor_list": None,
        "quantize_op_types": ["conv2d"],
        "activation_quantize_type": "range_abs_max",
        "bias_correct": True,
    }
    found = given({"Global": {"model_dir": "ppyoloe_crn_l_300e_coco"}, "QuantPost": section})
    own = composed(found).compression
    assert (own.method, own.ptq_algo, own.calibration_images, own.skip_tensor_list) == ("ptq", "KL", 40, [])
    assert found.left == ["QuantPost.bias_correct: True is not taken: biases are not corrected"]


def test_paddleslims_flat_file_of_quantization_after_training(given: Callable[..., Translation]) -> None:
    flat = f"model_dir: ./ppyoloe_crn_l_300e_coco\narch: PPYOLOE\nskip_tensor_list: ['conv2d_9.w_0']\n{READER}"
    found = given(flat)
    config = composed(found)
    assert (found.left, found.missing) == ([], [])
    assert (config.model.name, config.compression.method) == ("ppyoloe_l", "ptq")
    assert (config.data.val_images, config.compression.skip_tensor_list) == ("coco/val2017", ["conv2d_9.w_0"])


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("./ppyoloe_plus_crn_t_auxhead_relu_320_300e_coco/", "ppyoloe_plus_t_relu_320"),
        ("../../output_inference/ppyoloe_plus_crn_t_auxhead_300e_coco/", "ppyoloe_plus_t"),
        ("ppyoloe_plus_crn_s_80e_coco_no_nms", "ppyoloe_plus_s"),
        ("ppyoloe_crn_l_80e_sliced_visdrone_640_025", "ppyoloe_l"),
        ("ppyoloe_plus_sod_crn_l_80e_coco", None),  # another neck and head
        ("ppyoloe_crn_l_p2_alpha_80e_visdrone", None),
        ("ppyoloe_crn_t_300e_coco", None),  # there is none
        ("model", None),
    ],
)
def test_a_folder_of_paddledetections_names_its_model(folder: str, name: str | None) -> None:
    assert model_of(folder) == name
    assert name is None or name in PUBLISHED


def test_a_method_that_the_file_has_no_section_for(given: Callable[..., Translation], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no section PTQ or QuantPost"):
        given(act("m"), method="PTQ")
    with pytest.raises(InputError, match=r"cannot be read \(No such file or directory\)"):
        translate(tmp_path / "missing.yaml")


def test_what_hydra_would_take_for_another_keys_name_has_to_be_given(given: Callable[..., Translation]) -> None:
    found = given({"Global": {"model_dir": "${HOME}/ppyoloe_crn_l_300e_coco"}, "QuantAware": {}})
    assert "model.inference_dir" not in found.values and found.choices["model"] == "ppyoloe_l"
    assert any(text.startswith("model.inference_dir=..., which is '${HOME}/ppyoloe") for text in found.missing)
    composed(found)
