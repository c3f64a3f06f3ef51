"""Recipes with the key sets of the public ones of FastDeploy and PaddleSlim, and what a translation composes to."""

from __future__ import annotations

import shlex
from typing import Any

from pipelines.config import resolvers, schema
from pipelines.config.check import check_command
from pipelines.config.compose import Command
from pipelines.config.recipe.overrides import command_line
from pipelines.config.recipe.source import Translation
from pipelines.config.schema import PipelineConfig
from pipelines.config.values import check_values

COSINE = {"type": "CosineAnnealingDecay", "learning_rate": 0.00003, "T_max": 6000}
SGD = {"optimizer": {"type": "SGD"}, "weight_decay": 4.0e-05}
QUANT = {
    "onnx_format": True,
    "use_pact": True,
    "activation_quantize_type": "moving_average_abs_max",
    "quantize_op_types": ["conv2d", "depthwise_conv2d"],
}
EXPORT = {"model_filename": "model.pdmodel", "params_filename": "model.pdiparams"}


def fastdeploy(model: str, preprocess: str, section: str) -> dict[str, Any]:
    """The key set of ``fastdeploy compress``'s ppyoloe files; the newer ones call the section Quantization."""
    images = {"qat_image_path": "train", "ptq_image_path": "val"}
    prepared = {"qat_preprocess": preprocess, "ptq_preprocess": preprocess}
    inputs = {"input_list": ["image", "scale_factor"], "qat_batch_size": 4}
    return {
        "Global": {"model_dir": model, "format": "paddle", **EXPORT, **images, **inputs, **prepared},
        "Distillation": {"alpha": 1.0, "loss": "soft_label"},
        section: QUANT,
        "PTQ": {"calibration_method": "avg", "skip_tensor_list": "None"},
        "TrainConfig": {"train_iter": 5000, "learning_rate": COSINE, "optimizer_builder": SGD},
    }


def act(model: str, **training: Any) -> dict[str, Any]:
    """The key set of PaddleSlim's ``ppyoloe_*_qat_dis.yaml``."""
    return {
        "Global": {"reader_config": "configs/reader.yml", "arch": "PPYOLOE", "include_nms": False, "Evaluation": True,
                   "model_dir": model, **EXPORT},
        "Distillation": {"alpha": 1.0, "loss": "soft_label"},
        "QuantAware": QUANT,
        "TrainConfig": {"train_iter": 5000, "eval_iter": 1000, "learning_rate": COSINE, "optimizer_builder": SGD,
                        **training},
    }  # fmt: skip


READER = """\
metric: COCO
num_classes: 80
TrainDataset:
  !COCODataSet
    image_dir: train2017
    anno_path: annotations/instances_train2017.json
    dataset_dir: coco
EvalDataset:
  !COCODataSet
    image_dir: val2017
    anno_path: annotations/instances_val2017.json
    dataset_dir: coco
worker_num: 0
EvalReader:
  sample_transforms:
    - Decode: {}
    - Resize: {target_size: [640, 640], keep_ratio: False, interp: 2}
    - NormalizeImage: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: True}
    - Permute: {}
  batch_size: 8
"""


def composed(found: Translation) -> PipelineConfig:
    """The config of the command line, which has no problem but files that are not there."""
    schema.register()
    resolvers.register_resolvers()
    _, _, *words = shlex.split(command_line(found))
    (config,) = check_command(Command(words), inputs=False)
    assert check_values(config) == []
    return config
