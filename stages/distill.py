"""Stage ``distill``: FP32 model and unlabeled images -> INT8 model with quantize/dequantize operators."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from stages.contract import ExportedModel, ImageList, QuantizedModel, StageContext, hash_files
from stages.errors import ConfigError, DataError
from stages.options import CompressionSettings, DistillOptions
from stages.ranges import ALGORITHMS

LOSSES = ("soft_label", "l2", "detection")
METHODS = ("qat_distill", "ptq")
OPERATORS = ("conv2d", "depthwise_conv2d", "conv2d_transpose", "mul", "matmul", "matmul_v2")


@dataclass(frozen=True)
class DistillInputs:
    """The exported FP32 model and the images it is compressed with."""

    model: ExportedModel
    images: ImageList


class Distill:
    """``qat_distill`` trains the INT8 student on its FP32 teacher's outputs; ``ptq`` only measures ranges."""

    name = "distill"
    version = 2  # 2: the box projection stays in float whatever its weights
    packages: ClassVar[tuple[str, ...]] = ("paddlepaddle", "paddlepaddle-gpu", "paddleslim")
    unkeyed: ClassVar[tuple[str, ...]] = ("max_map_drop", "min_speedup")  # those of the stage behind it
    Options = DistillOptions
    Inputs = DistillInputs
    Output = QuantizedModel

    def __init__(self, options: DistillOptions) -> None:
        self.options = options

    def run(self, inputs: DistillInputs, context: StageContext) -> QuantizedModel:
        """Compress; the FP32 model is only read.

        Raises:
            ConfigError: settings that cannot be used, all of them named.
            DataError: no images.
            StageError: the loss is not a finite number (with its step), or nothing could be quantized.
        """
        o = self.options
        problems = check_settings(o)
        if problems:
            raise ConfigError(problems)
        from stages.detection.preprocess import Preprocessor
        from stages.detection.sidecar import Sidecar
        from stages.detection.unlabeled import UnlabeledImages, listed_paths

        paths = listed_paths(inputs.images)
        if not paths:
            raise DataError("there are no unlabeled images to compress with; check data.unlabeled_images.")
        sidecar = Sidecar.read(inputs.model.path("infer_cfg.yml"))
        images = UnlabeledImages(paths, Preprocessor(sidecar), batch=o.batch, seed=context.seed)
        history: list[dict[str, float]] = []
        if o.method == "qat_distill":
            from stages.paddle.qat import distill

            history = distill(inputs.model, images, o, context)
        else:
            from stages.paddle.ptq import quantize

            quantize(inputs.model, images, o, context)
        (context.out / "history.json").write_text(json.dumps(history, indent=1), encoding="utf-8")
        return QuantizedModel(
            root=context.out,
            files=hash_files(context.out),
            method=o.method,
            steps=o.steps if o.method == "qat_distill" else 0,
            images=len(paths),
        )


def check_settings(o: CompressionSettings) -> list[str]:
    """What is wrong with the settings, one line each."""
    problems = []
    choices = {"method": METHODS, "loss": LOSSES, "ptq_algo": ALGORITHMS}
    choices["activation_ranges"] = ("moving_average", *ALGORITHMS)
    choices["weight_quantize_type"] = ("channel_wise_abs_max", "abs_max")
    for name, allowed in choices.items():
        if getattr(o, name) not in allowed:
            problems.append(f"compression.{name}={getattr(o, name)!r} has to be one of {', '.join(allowed)}")
    unknown = [name for name in o.quantize_op_types if name not in OPERATORS]
    if unknown or not o.quantize_op_types:
        problems.append(f"compression.quantize_op_types={o.quantize_op_types} has to be some of {', '.join(OPERATORS)}")
    for name in ("steps", "batch", "checkpoint_every", "log_every", "calibration_images"):
        if getattr(o, name) < 1:
            problems.append(f"compression.{name}={getattr(o, name)} has to be 1 or more")
    for name in ("warmup_steps", "weight_decay"):
        if getattr(o, name) < 0:
            problems.append(f"compression.{name}={getattr(o, name)} has to be 0 or more")
    for name in ("lr", "alpha"):
        if not getattr(o, name) > 0:
            problems.append(f"compression.{name}={getattr(o, name)} has to be above 0")
    return problems
